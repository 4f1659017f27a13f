"""The files of a folder, in an order that favours none of its classes."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from edgecompile.errors import DataError


def find(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Return the files with one of these suffixes, subfolders included, links to folders not.

    Sorted by the hash of the name relative to the folder: the same each time and everywhere, but
    mixed. Sorted by name, the first samples of a folder of classes would all be of one class.
    """
    wanted = tuple(suffixes)
    found: list[str] = []
    for place, inside, names in os.walk(folder, onerror=_refuse):
        inside[:] = [name for name in inside if not name.startswith(".")]
        for name in names:
            full = os.path.join(place, name)  # noqa: PTH118 - a million paths stay plain texts
            shown = not name.startswith(".") and name.lower().endswith(wanted)
            if shown and os.path.isfile(full):  # noqa: PTH113
                found.append(os.path.relpath(full, folder).replace(os.sep, "/"))
    order = sorted(found, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    return [folder / name for name in order]


def _refuse(error: OSError) -> NoReturn:
    msg = f"{error.filename}: cannot read the folder: {error.strerror}"
    raise DataError(msg) from error
