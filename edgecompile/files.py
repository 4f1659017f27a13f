"""Files written whole or not at all, and their hashes."""

import errno
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgecompile.errors import OutputError

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)
"""Error numbers that mean: the place, not the program, is at fault."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@contextmanager
def output_folder(path: Path) -> Iterator[None]:
    """Make the folder that bundles go to, before any work; drop it again if it stays empty."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        msg = f"{path}: cannot write there: {error.strerror}; choose another with -o"
        raise OutputError(msg) from error
    try:
        yield
    finally:
        if not any(path.iterdir()):
            path.rmdir()


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """Give a scratch folder beside `final` that takes its place on success, else vanishes."""
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    except OSError as error:
        msg = f"{final.parent}: cannot write there: {error.strerror}; choose another with -o"
        raise OutputError(msg) from error
    try:
        yield scratch
        scratch.chmod(0o755)
        _swap(scratch, final)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        msg = f"{error.filename or final}: cannot write there: {error.strerror}"
        raise OutputError(msg) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _swap(scratch: Path, final: Path) -> None:
    """Move `scratch` to `final`; what stood there goes only after the new one is in place."""
    if not final.exists():
        scratch.rename(final)
        return
    if not final.is_dir():
        msg = f"{final}: is a file, not a folder; move it away, or choose another place with -o"
        raise OutputError(msg)
    old = Path(tempfile.mkdtemp(prefix=f".{final.name}-old-", dir=final.parent))
    final.rename(old / "bundle")
    try:
        scratch.rename(final)
    except BaseException:  # an interrupt too must not lose the old bundle
        (old / "bundle").rename(final)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
