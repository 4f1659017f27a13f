"""What a board says is checked, and warned of where its figures would be too slow."""

import json
from typing import Any, cast

import pytest

from edgecompile import target
from edgecompile.errors import RemoteError
from edgecompile.remote.address import Address
from edgecompile.remote.board import check_board, look
from edgecompile.remote.connection import Answer, Connection

SAYS = {
    "python": "3.11.2", "bits": 64, "isa": "aarch64", "board": "Raspberry Pi 5 Model B Rev 1.0",
    "features": "fp asimd asimddp", "cores": 4, "governor": "ondemand", "temperature_c": 52.1,
    "throttled": 0, "free_bytes": 10**10, "packages": {"numpy": "2.4.6"},
}  # fmt: skip


class Says:
    """A connection to a board that answers as it is told."""

    address, folder = Address("pi", "pi"), "/tmp/x"  # noqa: S108

    def __init__(self, **changes: Any) -> None:
        """Keep the answer."""
        self.answer = json.dumps(SAYS | changes)

    def run(self, *_words: Any) -> Answer:
        """Answer."""
        return Answer(0, self.answer, "")

    @property
    def connection(self) -> Connection:
        """Return it as what it stands for."""
        return cast("Connection", self)


def test_a_pi_is_read() -> None:
    """Name, features, governor and temperature; not throttled."""
    board = look(Says().connection, "python3", [])
    check_board(Says().connection, board, target.load("raspberry-pi-5"))
    assert board.name == "Raspberry Pi 5 Model B Rev 1.0"
    assert (board.governor, board.temperature_c, board.warning) == ("ondemand", 52.1, "")


@pytest.mark.parametrize(
    ("flags", "words"), [(0x50005, "is throttled"), (0x50000, "was throttled"), (None, "")]
)
def test_throttling_is_a_warning(flags: int | None, words: str) -> None:
    """Bits of get_throttled: now, or since it was switched on."""
    warning = look(Says(throttled=flags).connection, "python3", []).warning
    assert words in warning
    assert bool(words) == bool(warning)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits": 32}, "is armv7l, raspberry-pi-5 is aarch64"),
        ({"features": "fp asimd"}, "CPU lacks asimddp"),
        ({"python": "3.8.10"}, "Python 3.8.10 is too old, 3.9 is needed"),
    ],
)
def test_a_board_that_cannot_run_it(changes: dict[str, Any], words: str) -> None:
    """A 32-bit system on a 64-bit kernel, a CPU without dot product, an old Python."""
    says = Says(**changes).connection
    with pytest.raises(RemoteError, match=words):
        check_board(says, look(says, "python3", []), target.load("raspberry-pi-5"))


@pytest.mark.parametrize(
    "changes", [{"cores": "many"}, {"packages": 3}, {"free_bytes": float("inf")}, {"bits": None}]
)
def test_an_answer_that_is_none(changes: dict[str, Any]) -> None:
    """One line, whatever a hostile board says."""
    with pytest.raises(RemoteError, match="answered what no Python would"):
        look(Says(**changes).connection, "python3", [])


def test_control_characters_go() -> None:
    """A name cannot move the terminal's cursor."""
    assert "\x1b" not in look(Says(board="\x1b[2Jpi").connection, "python3", []).name
