"""The hash under which a result is kept, and those of what goes into it."""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from edgecompile.files import sha256
from edgecompile.plugins import folder_of, packages

WHOLE_BYTES = 1 << 28
"""Of one path that a recipe names, so many bytes are hashed; what is beyond counts by its time."""


def digest(key: Any) -> str:
    """Return the SHA-256 of plain data, sets and paths included, whatever the order of its keys."""
    text = json.dumps(key, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    msg = f"{type(value).__name__} is no plain data"
    raise TypeError(msg)


@cache
def code_version() -> str:
    """Return the hash of this package's files and of outside engines': others may give others."""
    found = hashlib.sha256()
    for root in (Path(__file__).parents[1], *(folder_of(name) for name in sorted(packages()))):
        for path in sorted(_sources(root)):
            found.update(f"{os.path.relpath(path, root)}\0".encode())
            with open(path, "rb") as file:  # noqa: PTH123 - some 300 files: pathlib costs 10 ms
                found.update(hashlib.sha256(file.read()).digest())
    return found.hexdigest()


def _sources(folder: str | Path) -> Iterator[str]:
    with os.scandir(folder) as found:
        for entry in found:
            if entry.name == "__pycache__":
                continue
            if entry.is_dir():
                yield from _sources(entry.path)
            else:
                yield entry.path


@cache
def tool_versions() -> Mapping[str, str]:
    """Return the versions of Python and of each package that edgecompile may use and that is here.

    That of an extra counts, too: an upgrade costs a build, a stale result more.
    """
    try:
        lines = importlib.metadata.requires("edgecompile") or []
    except importlib.metadata.PackageNotFoundError:  # it runs from a checkout
        lines = []
    names = {found[0] for line in lines if (found := re.match(r"[A-Za-z0-9._-]+", line))}
    return {"python": platform.python_version(), **dict(_versions(names))}


def _versions(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in sorted(names):
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def fingerprint(path: Path) -> list[list[Any]]:
    """Return what says that a file or folder of data is the same: names, sizes and hashes.

    Beyond WHOLE_BYTES, files count by size and time: a build must not read terabytes of images
    of which it uses some hundred.
    """
    rows: list[list[Any]] = []
    left = WHOLE_BYTES
    for file in files_of(path):
        status = file.stat()
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        left -= status.st_size
        rows.append([name, status.st_size, sha256(file) if left >= 0 else status.st_mtime_ns])
    return rows


def stamp(path: Path | str | None) -> list[Any]:
    """Return a program's path, size and time: a newer one is another."""
    if path is None:
        return []
    status = Path(path).stat()
    return [str(path), status.st_size, status.st_mtime_ns]


def files_of(path: Path) -> list[Path]:
    """Return the files of a folder, with those below it; or the file itself."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []
