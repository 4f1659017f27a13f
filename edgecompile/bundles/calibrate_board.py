"""Refit a board's factor to measurements of one's own: what smoke.py wrote on the board."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile import target as targets
from edgecompile.errors import DataError, UnsupportedError
from edgecompile.files import MANIFEST
from edgecompile.latency.board import MCA
from edgecompile.latency.own_measurements import Own, fit, write_own

PROFILE = "profile.json"
NEXT = "run edgecompile profile BUNDLE --emulate first, and leave measured.json in the bundle"


@dataclass(frozen=True, slots=True)
class Refitted:
    """The factor before and now, and the user's file that holds it."""

    before: float
    own: Own
    file: Path


def calibrate_board(name: str, files: Sequence[Path]) -> Refitted:
    """Fit a target's factor to measured.json files; each lies in its bundle, which was emulated.

    Raises DataError for a file that does not belong, UnsupportedError for a target whose times
    are not modelled.
    """
    target = targets.load(name)
    if target.latency is None or target.cpu is None:
        msg = f"{target.name}: its file has no table [latency]: no time is modelled for it"
        raise UnsupportedError(msg)
    rows = [_read(path, target.name, target.cpu.clock_hz) for path in files]
    models = {str(row["bound_by"]) for row in rows}
    if len(models) > 1:
        msg = f"{files[0]}: some bounds are llvm-mca's, some of counts alone; profile all anew"
        raise DataError(msg)
    model = models.pop()
    own = fit(model, [float(row["ratio"]) for row in rows])
    file = write_own(target.name, own, rows)
    return Refitted(target.latency.factor(model or MCA, target.cpu.clock_hz), own, file)


def _read(path: Path, name: str, clock_hz: int) -> Mapping[str, Any]:
    """Return a measurement's ratio of measured to bounding cycles, and where it comes from."""
    path = path / "measured.json" if path.is_dir() else path
    measured = _json(path)
    manifest, profile = (_json(path.parent / file) for file in (MANIFEST, PROFILE))
    try:
        board = name.partition(":")[0]
        if str(measured["target"]).partition(":")[0] != board:
            msg = f"{path}: was measured for {measured['target']}, not for {board}"
            raise DataError(msg)
        if measured["artifact_sha256"] != manifest["files"][manifest["artifact"]]:
            msg = f"{path}: was measured with another artifact than the bundle's; measure again"
            raise DataError(msg)
        single = next((row for row in measured["latency"] if row["threads"] == 1), None)
        bound = next((n for n in profile["numbers"] if "bound_mcycles" in n), None)
        if single is None or bound is None:
            what = "one thread's time" if single is None else "modelled latency"
            msg = f"{path}: there is no {what} beside it; {NEXT}"
            raise DataError(msg)
        ms, mcycles = float(single["p50_ms"]), float(bound["bound_mcycles"])
        ratio = ms / 1e3 * clock_hz / (mcycles * 1e6)
        return {
            "file": str(path.absolute()), "cpu": measured["cpu"], "runtime": measured["runtime"],
            "measured_ms": ms, "bound_mcycles": mcycles, "bound_by": bound["bound_by"],
            "ratio": ratio,
        }  # fmt: skip
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        msg = f"{path}: is no measured.json of smoke.py in its bundle ({error!r})"
        raise DataError(msg) from error


def _json(path: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path}: cannot be read ({error}); {NEXT}"
        raise DataError(msg) from error
    if not isinstance(told, dict):
        msg = f"{path}: is no table; {NEXT}"
        raise DataError(msg)
    return told
