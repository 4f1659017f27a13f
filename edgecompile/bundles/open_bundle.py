"""Where a bundle is: in a folder, or in a .zip that `edgecompile pack` wrote.

An archive may be anyone's: it is read only as far as pack's own look, and never writes outside of
the folder that it is unpacked to.
"""

import shutil
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from edgecompile.bundles.read_bundle import MOST_FILES, NAME
from edgecompile.emit.bundle import SMOKE
from edgecompile.errors import BundleError
from edgecompile.scratch import scratch_folder

UNPACK = "unpack it yourself and give the folder"
ENCRYPTED = 1
"""The bit of a member's flags that says so."""


@contextmanager
def open_bundle(place: Path) -> Iterator[Path]:
    """Give the folder of a bundle; a .zip is unpacked for as long as it is used.

    Raises BundleError where the archive is not as pack writes it; errors within name the archive.
    """
    if not place.is_file():
        yield place
        return
    with scratch_folder() as scratch:
        try:
            yield _unpack(place, scratch)
        except BundleError as error:
            msg = str(error).replace(f"{scratch}/", f"{place}: ")
            raise type(error)(msg) from error


def _unpack(path: Path, scratch: Path) -> Path:
    """Unpack an archive, each member checked first; return the one folder in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            top = _check(path, members)
            for member in members:
                target = scratch / member.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
                target.chmod(0o755 if target.name == SMOKE else 0o644)
    except (FileExistsError, NotADirectoryError):
        _refuse(path, "holds a file that is a folder too")
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        _refuse(path, f"is no .zip, or a damaged one ({error})")
    return scratch / top


def _check(path: Path, members: list[zipfile.ZipInfo]) -> str:
    """Check count, names, kinds and sizes of members, none of which is read; return the folder."""
    names = [member.filename for member in members]
    if not 1 <= len(members) <= MOST_FILES + 2:
        _refuse(path, f"holds {len(members)} files")
    if len(set(names)) < len(names):
        _refuse(path, "holds a file twice")
    tops = {name.partition("/")[0] for name in names}
    for name in names:
        top, slash, file = name.partition("/")
        if not slash or len(tops) > 1 or not (NAME.fullmatch(top) and NAME.fullmatch(file)):
            _refuse(path, f"holds {name!r}, which is no file of one plain folder")
    for member in members:
        kind = stat.S_IFMT(member.external_attr >> 16)
        stored = member.compress_type == zipfile.ZIP_STORED
        if kind not in {0, stat.S_IFREG} or not stored or member.flag_bits & ENCRYPTED:
            _refuse(path, f"{member.filename}: is no plain, stored file")
    if sum(member.file_size for member in members) > path.stat().st_size:
        _refuse(path, "says that it holds more than it has")
    return next(iter(tops))


def _refuse(path: Path, fault: str) -> NoReturn:
    msg = f"{path}: {fault}: not as `edgecompile pack` writes it; {UNPACK}"
    raise BundleError(msg)
