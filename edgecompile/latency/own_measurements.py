"""A board's factor from measurements of one's own: a file of the user's, which wins.

    ~/.config/edgecompile/latency/TARGET.json

`edgecompile calibrate-board` writes it; every later modelled latency of that target on this
machine uses it and says so. Deleting the file brings back the published factor.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgecompile.errors import RecipeError
from edgecompile.latency.board import geometric_mean, leave_one_out

BAND_OF_ONE, LEAST_BAND = 0.25, 0.15
"""The band by a single measurement; and by several that agree: another model, another day."""


@dataclass(frozen=True, slots=True)
class Own:
    """A factor for one model of bounds, its band, and the ratios that it is the mean of."""

    model: str
    factor: float
    band: float
    ratios: tuple[float, ...]


def config_folder() -> Path:
    """Return $EDGECOMPILE_CONFIG, else edgecompile/ in $XDG_CONFIG_HOME, else in ~/.config."""
    if own := os.environ.get("EDGECOMPILE_CONFIG"):
        return Path(own).absolute()
    shared = os.environ.get("XDG_CONFIG_HOME")
    return (Path(shared).absolute() if shared else Path.home() / ".config") / "edgecompile"


def path_of(board: str) -> Path:
    """Return the file of a target; its engine does not matter."""
    return config_folder() / "latency" / f"{board.partition(':')[0]}.json"


def fit(model: str, ratios: Sequence[float]) -> Own:
    """Return the factor of measured over bound cycles, and how far the others miss each."""
    misses = [abs(error) for error in leave_one_out(ratios)]
    band = max(LEAST_BAND, *misses) if len(ratios) > 1 else BAND_OF_ONE
    return Own(model, geometric_mean(ratios), band, tuple(ratios))


def read_own(board: str) -> Own | None:
    """Return what a user's file says of a target, None without one."""
    path = path_of(board)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        own = Own(str(told["model"]), float(told["factor"]), float(told["band"]),
                  tuple(float(r) for r in told["ratios"]))  # fmt: skip
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path}: cannot be read ({error}); delete it, or run edgecompile calibrate-board"
        raise RecipeError(msg) from error
    if not (0 < own.factor < 1e3 and 0 < own.band < 1):
        msg = f"{path}: factor or band is out of range; delete it, or run calibrate-board again"
        raise RecipeError(msg)
    return own


def write_own(board: str, own: Own, sources: Sequence[Mapping[str, Any]]) -> Path:
    """Write a target's file, whole or not at all; return its path."""
    path = path_of(board)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    text = json.dumps({"target": board, **asdict(own), "sources": list(sources)}, indent=2)
    scratch.write_text(text + "\n", encoding="utf-8")
    scratch.replace(path)
    return path
