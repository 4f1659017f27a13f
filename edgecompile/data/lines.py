"""The lines of a text file, one at a time, however long the file is."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from edgecompile.errors import DataError

LINE_CHARACTERS = 1 << 24
"""A longer line is no sample, and could fill the memory."""


def read_lines(path: Path, *, newline: str | None = None) -> Iterator[tuple[int, str]]:
    """Yield (number, line) from 1, without its end; with newline "", line ends stay as they are."""
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            for number in count(1):
                line = file.readline(LINE_CHARACTERS + 1)
                if not line:
                    return
                if len(line) > LINE_CHARACTERS:
                    msg = f"{path}, line {number}: longer than {LINE_CHARACTERS >> 20} MiB"
                    raise DataError(msg)
                yield number, line if newline == "" else line.removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot read texts from it: {error}"
        raise DataError(msg) from error
