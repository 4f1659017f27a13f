"""Ask the Python of a toolchain that is installed: a request, or answers to feeds over files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.rows_file import Rows, write_rows
from edgecompile.toolchain.venv import open_venv
from edgecompile.toolchain.worker import MEMORY_LIMIT_BYTES, run_worker

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

FEEDS, ANSWERS = "feeds.npz", "answers.npz"
"""Arrays by NUMBER/NAME."""


def ask(
    toolchain: str,
    worker: Path,
    request: Mapping[str, Any],
    folder: Path,
    *,
    time_limit_s: float,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Any:
    """Let a toolchain's Python do a request; a build has installed it by now. See run_worker."""
    python = open_venv(toolchain, lambda _stage, _line: None)
    return run_worker(
        python,
        worker,
        request,
        folder,
        time_limit_s=time_limit_s,
        memory_limit_bytes=memory_limit_bytes,
    )


def write_feeds(feeds: "Sequence[Feed]", folder: Path) -> None:
    """Write feeds where a worker looks for them."""
    write_rows(folder / FEEDS, feeds)


def read_answers(folder: Path) -> "list[dict[str, FloatArray]]":
    """Return what a worker answered to each feed, by output."""
    rows = Rows(folder / ANSWERS)
    return list(rows.read(0, len(rows)))
