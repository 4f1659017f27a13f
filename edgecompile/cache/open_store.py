"""Where a user's finished stages are kept, and how many bytes they may take."""

import os
from pathlib import Path

from edgecompile.byte_size import byte_size
from edgecompile.cache.store import Store
from edgecompile.cache_folder import cache_folder
from edgecompile.errors import CacheError

PLACE, SIZE = "EDGECOMPILE_STAGES", "EDGECOMPILE_CACHE_SIZE"
"""Environment variables: the folder of finished stages or "off"; the most bytes they take."""
OFF = "off"
DEFAULT_SIZE = "10 GB"


def open_store() -> Store | None:
    """Return the store in $EDGECOMPILE_STAGES, else in the user's cache; None if it is "off"."""
    place = os.environ.get(PLACE)
    if place == OFF:
        return None
    return Store(Path(place).absolute() if place else cache_folder() / "stages", limit_bytes())


def limit_bytes() -> int:
    """Return $EDGECOMPILE_CACHE_SIZE in bytes, by default 10 GB."""
    given = os.environ.get(SIZE) or DEFAULT_SIZE
    size = byte_size(given)
    if size is None:
        msg = f"{SIZE}: must look like '{DEFAULT_SIZE}', found '{given}'"
        raise CacheError(msg)
    return size
