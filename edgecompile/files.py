"""Files written whole or not at all, and their hashes."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from edgecompile.errors import OutputError
from edgecompile.scratch import scratch_folder, sweep

MANIFEST = "manifest.json"
"""What makes a folder a bundle, which a newer one may replace."""
NOTE = "edgecompile.json"
"""What makes a folder a pruned model that was written back."""

NEW, OLD = "-new-", "-old-"
"""How the names of the folders go on that are being written, or replaced, beside a bundle."""

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)
"""Error numbers that mean: the place, not the program, is at fault."""


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, keys in the order given."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all; OutputError where it cannot be written."""
    with whole_file(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a scratch path beside `path` that takes its place on success, else vanishes."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        yield scratch
        scratch.replace(path)
    except OSError as error:
        msg = f"{path}: cannot write there: {error.strerror}"
        raise OutputError(msg) from error
    finally:
        with suppress(OSError):
            scratch.unlink()


@contextmanager
def output_folder(path: Path) -> Iterator[None]:
    """Make the folder that bundles go to, before any work; drop it again if it stays empty."""
    missing = [p for p in (path, *path.parents) if not p.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        msg = f"{path}: cannot write there: {error.strerror}; choose another with -o"
        raise OutputError(msg) from error
    try:
        yield
    finally:
        for folder in missing:  # the innermost first; only what this call made
            if any(folder.iterdir()):
                break
            folder.rmdir()


@contextmanager
def staged_folder(final: Path, mark: str = MANIFEST) -> Iterator[Path]:
    """Give a scratch folder beside `final` that takes its place on success, else vanishes.

    A folder that stands there already is replaced if it holds a file named `mark`.
    """
    _check_replaceable(final, mark)
    with ExitStack() as stack:
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            sweep(final.parent, f".{final.name}{OLD}")
            scratch = stack.enter_context(scratch_folder(final.parent, f".{final.name}{NEW}"))
        except OSError as error:
            msg = f"{final.parent}: cannot write there: {error.strerror}; choose another with -o"
            raise OutputError(msg) from error
        try:
            yield scratch
            scratch.chmod(0o755)
            _swap(scratch, final, mark)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            msg = f"{error.filename or final}: cannot write there: {error.strerror}"
            raise OutputError(msg) from error


def _check_replaceable(final: Path, mark: str) -> None:
    """Refuse to take the place of what no build has made."""
    empty = final.is_dir() and not any(final.iterdir())
    if os.path.lexists(final) and not empty and not (final / mark).is_file():
        what = {MANIFEST: "bundle", NOTE: "pruned model"}[mark]
        msg = f"{final}: is there already and is no {what}; move it away, or choose another -o"
        raise OutputError(msg)


def _swap(scratch: Path, final: Path, mark: str) -> None:
    """Move `scratch` to `final`; what stood there goes only after the new one is in place.

    Where another build puts its own there meanwhile, the last one stays.
    """
    while True:
        _check_replaceable(final, mark)
        if not final.exists():
            if _placed(scratch, final):
                return
            continue
        with scratch_folder(final.parent, f".{final.name}{OLD}") as old:
            try:
                final.rename(old / "bundle")
            except FileNotFoundError:  # another build is just moving it
                continue
            try:
                if _placed(scratch, final):
                    return
            except BaseException:  # an interrupt too must not lose the old bundle
                (old / "bundle").rename(final)
                raise


def _placed(scratch: Path, final: Path) -> bool:
    """Move `scratch` to `final`, unless another one stands there by now."""
    try:
        scratch.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True
