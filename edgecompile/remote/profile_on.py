"""Run a bundle's smoke test on a board over ssh, and take back what it measured."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.bundles.smoke_result import FAIL, latency_numbers, read_result
from edgecompile.emit.bundle import MANIFEST, SMOKE
from edgecompile.energy.model_energy import measured_energy
from edgecompile.engines import engine
from edgecompile.errors import GateError, RemoteError, SmokeError
from edgecompile.remote.address import read_address
from edgecompile.remote.board import UNREADABLE, Board, check_board, look
from edgecompile.remote.connection import Connection, connect
from edgecompile.remote.copy import copy
from edgecompile.remote.explain import clean, explain_far
from edgecompile.remote.install import DEFAULT_PYTHON, install, missing
from edgecompile.scratch import scratch_folder
from edgecompile.target import Target

Say = Callable[[str, str], None]
MEASURED = "measured.json"
SMOKE_LIMIT_S = 1800


@dataclass(frozen=True, slots=True)
class Request:
    """A bundle for a board: its folder, its manifest, its target, and how to get there.

    `python` is a Python on the board, "" for its python3 or a new venv; `config` a file in the
    place of ~/.ssh/config; `arguments` are smoke.py's.
    """

    bundle: Path
    manifest: Mapping[str, Any]
    target: Target
    address: str
    python: str = ""
    config: Path | None = None
    arguments: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """The board, as it was after the run, and its measured.json."""

    board: Board
    result: Mapping[str, Any]
    copied_bytes: int
    copied_s: float


def profile_on(request: Request, say: Say) -> Measured:
    """Copy, run, take back, clean up.

    Raises RemoteError for all that is in the way, GateError when smoke.py says FAIL, SmokeError
    when it ends without a verdict.
    """
    address = read_address(request.address)
    files = request.manifest["files"]
    names = [MANIFEST, *files]
    for name in names:
        if Path(name).name != name or not (request.bundle / name).is_file():
            msg = f"{request.bundle}: its {name} is missing; build it again"
            raise RemoteError(msg)
    package = engine(request.target.engine).package
    say("connect", f"ssh://{address.shown}")
    with connect(address, request.config) as connection:
        board = look(connection, request.python or DEFAULT_PYTHON, ["numpy", package])
        check_board(connection, board, request.target)
        size = sum((request.bundle / name).stat().st_size for name in names)
        say("copy", f"{len(names)} files, {size / 1e6:.1f} MB, to {board.name}")
        seconds = copy(connection, request.bundle, names, board.free_bytes)
        packages = missing(board, package, str(request.manifest["runtime"]))
        python = install(
            connection, board, packages, request.python, lambda what: say("install", what)
        )
        _smoke(connection, [python, "-u", SMOKE, *request.arguments], say)
        result = _take(connection, files[request.manifest["artifact"]])
        after = look(connection, python, ["numpy", package])
        say("clean up", f"{connection.folder} on {board.name}")
    return Measured(after, result, size, seconds)


def _smoke(connection: Connection, command: Sequence[str], say: Say) -> None:
    """Run smoke.py; its lines are the progress, its FAIL line the error."""
    answer = connection.run(
        command, SMOKE_LIMIT_S, heard=lambda line: say("smoke", clean(line.removeprefix("ok    ")))
    )
    if answer.code == 0:
        return
    who = f"ssh://{connection.address.shown}"
    failed = [line for line in answer.out.splitlines() if line.startswith(FAIL)]
    if failed:
        msg = f"{who}: {clean(failed[-1])}"
        raise GateError(msg)
    if answer.code > 128:
        msg = (
            f"{who}: smoke.py was ended by signal {answer.code - 128}; 4 is an instruction that"
            " this CPU has not, 9 most often too little memory, 11 a crash of the runtime"
        )
        raise SmokeError(msg)
    raise explain_far(
        connection.address, "run smoke.py", answer.err or answer.out, connection.folder
    )


def _take(connection: Connection, artifact: str) -> Mapping[str, Any]:
    """Return measured.json, checked: it comes from another machine."""
    who = f"ssh://{connection.address.shown}"
    answer = connection.run(["cat", MEASURED], 60)
    if answer.code:
        raise explain_far(connection.address, f"read {MEASURED}", answer.err, connection.folder)
    with scratch_folder() as scratch:
        path = scratch / MEASURED
        path.write_text(answer.out, encoding="utf-8")
        result = read_result(path, who)
        _check(result, artifact, who)
    return result


def _check(result: Mapping[str, Any], artifact: str, who: str) -> None:
    """Say so if a result is of another artifact, or has a time or energy that none can have."""
    try:
        numbers = [*latency_numbers(result), *measured_energy(result)]
        sound = all(math.isfinite(each["value"]) and each["value"] > 0 for each in numbers)
    except UNREADABLE:
        sound = False
    if not sound or result.get("artifact_sha256") != artifact:
        msg = f"{who}: {MEASURED} there is not what this bundle's smoke.py writes"
        raise SmokeError(msg)
