"""Scratch folders that a killed process cannot leave for good: the next one removes them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "edgecompile-scratch-"
POSIX = os.name == "posix"
"""Elsewhere folders have no locks: then what a killed process leaves is not swept."""


@contextmanager
def scratch_folder(parent: Path | None = None, prefix: str = PREFIX) -> Iterator[Path]:
    """Give an empty folder in `parent`, by default the system's for such, and remove it after.

    It is held by a lock that the kernel drops when this process ends, however it ends. Those of
    the same prefix that nobody holds any more are removed first. Raises OSError where no folder can
    be made.
    """
    place = parent or Path(tempfile.gettempdir())
    sweep(place, prefix)
    folder, held = _make(place, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def sweep(parent: Path | None = None, prefix: str = PREFIX) -> list[Path]:
    """Remove the scratch folders that killed processes of this user have left; return which."""
    gone: list[Path] = []
    if not POSIX:
        return gone
    place = parent or Path(tempfile.gettempdir())
    with suppress(OSError), os.scandir(place) as found:
        for entry in found:
            if not entry.name.startswith(prefix) or not entry.is_dir(follow_symlinks=False):
                continue
            if entry.stat(follow_symlinks=False).st_uid != os.getuid():
                continue
            with suppress(OSError):  # held, or gone meanwhile
                held = _hold(Path(entry.path), alone=True)
                try:
                    shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(held)
                gone.append(Path(entry.path))
    return gone


def _make(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """Make a folder and hold it; another one where a sweep was quicker than the lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        if not POSIX:
            return folder, None
        with suppress(FileNotFoundError, BlockingIOError):
            held = _hold(folder, alone=False)
            if folder.is_dir():
                return folder, held
            os.close(held)


def _hold(folder: Path, *, alone: bool) -> int:
    """Return an open file of a folder that is locked; raise BlockingIOError where others hold it.

    Where a file system has no locks, nothing is swept, and what makes a folder goes on without.
    """
    import fcntl  # POSIX's: the module is imported on other systems too

    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if alone or isinstance(error, BlockingIOError):
            os.close(held)
            raise
    return held
