"""Where things lie that are fetched or made once for all builds of a user."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return $EDGECOMPILE_CACHE, else edgecompile/ in $XDG_CACHE_HOME, else in ~/.cache.

    It may not exist yet. Everything in it can be deleted at any time, and is then made again.
    """
    if own := os.environ.get("EDGECOMPILE_CACHE"):
        return Path(own).absolute()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared).absolute() if shared else Path.home() / ".cache") / "edgecompile"
