"""Entries on disk: each a folder of files, whole or not at all, verified when it is read.

    stages/STAGE-KEY/         the files, and entry.json: their sizes and hashes
    stages/.new-XXXXXXXX/     one that is being written or removed; a killed process's is swept

Processes that make the same entry do not wait for each other: the first one's stays.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edgecompile.errors import DamagedError
from edgecompile.files import sha256
from edgecompile.scratch import scratch_folder, sweep

RECORD = "entry.json"
NEW = ".new-"
CHANGED = "{} is not what was written"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
"""Of entries and of their files."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that was verified: its folder, when it was made, what was warned of."""

    folder: Path
    inode: int
    made: str
    warnings: Sequence[str]

    def stands(self) -> bool:
        """Say whether it is still there: meanwhile it may be evicted, or made anew."""
        try:
            return self.folder.stat().st_ino == self.inode
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of an entry without reading it: name, bytes, and when it was last used."""

    name: str
    bytes: int
    used: float

    @property
    def stage(self) -> str:
        """Return the stage that made it."""
        return self.name.rpartition("-")[0]


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of entries, and how many bytes they may take together."""

    folder: Path
    limit_bytes: int

    def open(self, name: str) -> Entry | None:
        """Return an entry, verified, and note that it was used; None where there is none.

        Raises DamagedError where it is not what was written; it is gone then.
        """
        folder = self.folder / name
        try:
            entry = _verified(folder)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            if not folder.is_dir():
                return None
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                raise
            self._remove(name)
            raise DamagedError(str(error)) from error
        with suppress(OSError):  # read-only: then nothing is evicted either
            os.utime(folder)
        return entry

    def keep(
        self, name: str, write: Callable[[Path], None], warnings: Sequence[str] = ()
    ) -> list[Kept]:
        """Let `write` fill an entry's folder; return the entries that had to go for it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with scratch_folder(self.folder, NEW) as scratch:
            write(scratch)
            _seal(scratch, warnings)
            if (self.folder / name).is_dir():  # this one was made later
                self._remove(name)
            try:
                scratch.rename(self.folder / name)
            except OSError as error:  # another process's, as good as this one
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        return self.trim(self.limit_bytes)

    def trim(self, limit_bytes: int) -> list[Kept]:
        """Remove what was not used for longest until the rest fits; return what went."""
        kept = sorted(self.entries(), key=lambda entry: entry.used)
        total, gone = sum(entry.bytes for entry in kept), []
        for entry in kept:
            if total <= limit_bytes:
                break
            self._remove(entry.name)
            total -= entry.bytes
            gone.append(entry)
        return gone

    def entries(self) -> Iterator[Kept]:
        """Yield what is there; what another process removes meanwhile is passed over."""
        with suppress(FileNotFoundError), os.scandir(self.folder) as found:
            for entry in found:
                with suppress(OSError):
                    if NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                        yield Kept(entry.name, _size(entry.path), entry.stat().st_mtime)

    def sweep(self) -> int:
        """Remove what killed processes have left; return how many folders that were."""
        return len(sweep(self.folder, NEW))

    def _remove(self, name: str) -> None:
        """Take an entry away at once, so that nobody finds half of it, then delete it."""
        with suppress(OSError), scratch_folder(self.folder, NEW) as scratch:
            (self.folder / name).rename(scratch / name)


def _size(folder: str) -> int:
    with os.scandir(folder) as found:
        return sum(file.stat(follow_symlinks=False).st_size for file in found)


def _seal(folder: Path, warnings: Sequence[str]) -> None:
    """Write the record: its own hash in the first line, below it the hash of every file."""
    files = {path.name: [path.stat().st_size, sha256(path)] for path in sorted(folder.iterdir())}
    made = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps({"made": made, "warnings": list(warnings), "files": files})
    seal = hashlib.sha256(text.encode()).hexdigest()
    (folder / RECORD).write_text(f"{seal}\n{text}\n", encoding="utf-8")


def _verified(folder: Path) -> Entry:
    """Return an entry; ValueError, say, where its record or a file is not what was written."""
    inode = folder.stat().st_ino
    seal, _, text = (folder / RECORD).read_text(encoding="utf-8").partition("\n")
    if hashlib.sha256(text.rstrip("\n").encode()).hexdigest() != seal:
        raise ValueError(CHANGED.format(RECORD))
    record = json.loads(text)
    for name, (size, digest) in record["files"].items():
        path = folder / name
        same = NAME.fullmatch(name) and not path.is_symlink() and path.stat().st_size == size
        if not same or sha256(path) != digest:
            raise ValueError(CHANGED.format(name))
    return Entry(folder, inode, record["made"], record["warnings"])
