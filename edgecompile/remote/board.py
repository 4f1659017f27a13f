"""What a board says of itself, checked: nothing that comes from there is trusted."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from edgecompile.errors import RemoteError
from edgecompile.host import Host, why_not
from edgecompile.remote.connection import Connection
from edgecompile.remote.explain import FULL, clean, explain_far, last_line, no_space
from edgecompile.target import Target

LOOK_LIMIT_S = 60
NOT_FOUND, NOT_EXECUTABLE = 127, 126
OLDEST_PYTHON = (3, 9)
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What JSON of another making can raise."""
THROTTLED_NOW, THROTTLED_EVER = 0xF, 0xF0000
"""Bits of a Raspberry Pi's get_throttled: low voltage, capped, throttled, hot; now, since boot."""


@dataclass(frozen=True, slots=True)
class Board:
    """A board, its Python and what is installed there; "" and None where it does not say."""

    name: str
    isa: str
    features: frozenset[str]
    cores: int
    governor: str
    temperature_c: float | None
    throttled: int | None
    free_bytes: int
    python: str
    packages: Mapping[str, str]

    @property
    def host(self) -> Host:
        """Return what host.why_not() compares with a target."""
        return Host(self.name, self.isa, self.features, self.cores, self.governor)

    @property
    def warning(self) -> str:
        """Return why its figures may be too slow, "" if nothing is known."""
        if self.throttled and self.throttled & THROTTLED_NOW:
            return "the board is throttled or its supply too weak: its figures are too slow"
        if self.throttled and self.throttled & THROTTLED_EVER:
            return "the board was throttled, or its supply too weak, since it was switched on"
        return ""

    def described(self) -> dict[str, Any]:
        """Return what the profile keeps of it."""
        kept = ("name", "isa", "cores", "governor", "temperature_c", "throttled", "python")
        return {key: value for key, value in asdict(self).items() if key in kept}


def look(connection: Connection, python: str, packages: list[str]) -> Board:
    """Ask a board's Python what it runs on, and the versions of packages."""
    script = (Path(__file__).parent / "look.py").read_bytes()

    def feed(pipe: IO[bytes]) -> None:
        pipe.write(script)

    answer = connection.run([python, "-", *packages], LOOK_LIMIT_S, feed)
    who = f"ssh://{connection.address.shown}"
    if FULL in answer.err:
        raise no_space(connection.address, connection.folder, "anything")
    if answer.code in {NOT_FOUND, NOT_EXECUTABLE}:
        msg = (
            f"{who}: no Python '{python}' there; install it (apt-get install python3) or name"
            " one with --python"
        )
        raise RemoteError(msg)
    if answer.code:
        raise explain_far(connection.address, f"run {python}", answer.err, connection.folder)
    try:
        return _read(json.loads(answer.out))
    except UNREADABLE as error:
        msg = f"{who}: {python} answered what no Python would: {last_line(answer.out)}"
        raise RemoteError(msg) from error


def _read(found: Any) -> Board:
    """Check types, cut lengths, drop control characters; a 32-bit Python makes a 32-bit board."""
    isa = clean(str(found["isa"]), 40)
    if int(found["bits"]) == 32:
        isa = {"aarch64": "armv7l", "x86_64": "i686"}.get(isa, isa)
    degrees, throttled = found["temperature_c"], found["throttled"]
    return Board(
        name=clean(str(found["board"]), 100).strip() or "a board without a name",
        isa=isa,
        features=frozenset(clean(str(found["features"]), 10000).split()),
        cores=int(found["cores"]),
        governor=clean(str(found["governor"]), 40) or "unknown",
        temperature_c=None if degrees is None else float(degrees),
        throttled=None if throttled is None else int(throttled),
        free_bytes=int(found["free_bytes"]),
        python=clean(str(found["python"]), 40),
        packages={str(key): clean(str(v), 40) for key, v in found["packages"].items()},
    )


def check_board(connection: Connection, board: Board, target: Target) -> None:
    """Say so if a board cannot run a target's artifact: its CPU, or its Python."""
    who = f"ssh://{connection.address.shown}"
    reason = why_not(board.host, target, board.name)
    if reason is not None:
        msg = f"{who}: {reason}; build for that board: edgecompile targets"
        raise RemoteError(msg)
    if tuple(int(n) for n in board.python.split(".")[:2]) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        msg = f"{who}: Python {board.python} is too old, {oldest} is needed; see --python"
        raise RemoteError(msg)
