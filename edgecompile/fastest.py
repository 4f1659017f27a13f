"""Build with every engine of a target that is installed; keep the fastest that passes the gate."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.emit.bundle import MANIFEST
from edgecompile.engines import check_installed, check_scheme
from edgecompile.errors import (
    EdgeCompileError,
    GateError,
    MissingRuntimeError,
    UnsupportedError,
)
from edgecompile.files import write_json
from edgecompile.host import read_host, why_not
from edgecompile.target import FASTEST, Target

if TYPE_CHECKING:
    from edgecompile.fill_bundle import Bundle

Timed = Mapping[str, float | int | str]
"""The median "ms" of one engine, and how it was got."""


def check_runs(boards: Sequence[Target], scheme: str) -> None:
    """Say at once what the one engine lacks, or why several cannot be measured here."""
    if len(boards) == 1:
        check_installed(boards[0])
        check_scheme(boards[0], scheme)
    elif reason := why_not(read_host(), boards[0]):
        known = ", ".join(board.name for board in boards)
        msg = f"{boards[0].name}:{FASTEST} cannot be measured: {reason}; choose one of {known}"
        raise UnsupportedError(msg)


def compile_fastest(
    boards: Sequence[Target],
    folder: Path,
    compile_into: "Callable[[Target, Path], Bundle]",
    time_in_turn: Callable[[Mapping[str, Path]], Mapping[str, Timed]],
) -> "Bundle":
    """Fill `folder` with the bundle of the fastest engine; its manifest tells of all engines.

    `compile_into` makes one engine's bundle in a folder or raises why it cannot be; `time_in_turn`
    takes artifacts by engine.
    """
    bundles: dict[str, Bundle] = {}
    failures: dict[str, EdgeCompileError] = {}
    for board in boards:
        place = folder / board.engine
        place.mkdir()
        try:
            check_installed(board)
            bundles[board.engine] = compile_into(board, place)
        except (GateError, MissingRuntimeError, UnsupportedError) as error:
            failures[board.engine] = error
    if not bundles:
        raise min(failures.values(), key=lambda error: not isinstance(error, GateError))
    artifacts = {name: b.folder / b.manifest["artifact"] for name, b in bundles.items()}
    times = time_in_turn(artifacts)
    fastest = min(times, key=lambda name: float(times[name]["ms"]))
    rows = [
        _row(board.engine, fastest, bundles, failures, times.get(board.engine)) for board in boards
    ]
    return _keep(bundles[fastest], folder, rows)


def _row(
    name: str,
    fastest: str,
    bundles: "Mapping[str, Bundle]",
    failures: Mapping[str, EdgeCompileError],
    timed: Timed | None,
) -> dict[str, Any]:
    """Return one line of the table of engines."""
    if timed is None:
        return {"engine": name, "kept": False, "ms": None, "why": str(failures[name])}
    accuracy = bundles[name].manifest["accuracy"]
    scores = {key: accuracy[key] for key in ("metric", "mean", "min")}
    why = "the fastest" if name == fastest else f"slower than {fastest}"
    return {"engine": name, "kept": name == fastest, **timed, **scores, "why": why}


def _keep(bundle: "Bundle", folder: Path, rows: list[dict[str, Any]]) -> "Bundle":
    """Move one engine's bundle up into `folder`, and remove the others."""
    for path in bundle.folder.iterdir():
        path.replace(folder / path.name)
    for row in rows:
        shutil.rmtree(folder / row["engine"])
    manifest = {**bundle.manifest, "engines": rows}
    write_json(folder / MANIFEST, manifest)
    return replace(bundle, folder=folder, manifest=manifest)
