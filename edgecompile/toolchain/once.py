"""Make a folder once: whole or not at all, and by one process where several ask for it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgecompile.errors import FetchError
from edgecompile.files import UNWRITABLE


def once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`; where it is missing, `make` fills a scratch folder that takes its name.

    Another process that asks meanwhile waits for the first. A process that is killed leaves a
    scratch folder behind, which the next one removes. Raises FetchError where the disk is at fault.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f"{folder.name}.lock"):
            if not folder.is_dir():
                _make(folder, make)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        place = error.filename or folder.parent
        msg = f"{place}: cannot write there: {error.strerror}; set EDGECOMPILE_CACHE to another"
        raise FetchError(msg) from error
    return folder


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    prefix = f".{folder.name}-"
    for left in folder.parent.glob(f"{prefix}*"):  # of a killed process: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        make(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel drops when this process ends, however it ends."""
    import fcntl  # POSIX's: the module is imported on other systems too

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
