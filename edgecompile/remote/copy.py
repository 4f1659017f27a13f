"""Copy a bundle's files to the board, as one stream."""

import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from edgecompile.remote.connection import Connection
from edgecompile.remote.explain import explain_far, no_space

SLOWEST = 200_000
"""Bytes a second below which a copy is given up."""


def copy(connection: Connection, folder: Path, names: Sequence[str], free_bytes: int) -> float:
    """Copy files of a folder into the connection's; return the seconds that it took."""
    size = sum((folder / name).stat().st_size for name in names)
    if free_bytes < size * 1.1:
        raise no_space(connection.address, connection.folder, f"the bundle ({size / 1e6:.1f} MB)")

    def feed(pipe: IO[bytes]) -> None:
        with tarfile.open(fileobj=pipe, mode="w|") as archive:
            for name in names:
                archive.add(folder / name, name, recursive=False)

    start = time.perf_counter()
    answer = connection.run(["tar", "-xf", "-"], 60 + size / SLOWEST, feed)
    if answer.code:
        raise explain_far(connection.address, "copy the bundle", answer.err, connection.folder)
    return time.perf_counter() - start
