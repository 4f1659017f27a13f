"""Feeds and answers in one .npz, written and read a sample at a time: NNNNNN/NAME, no pickle."""

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

Array = np.ndarray[Any, Any]


def write_rows(path: Path, rows: Iterable[Mapping[str, Array]]) -> int:
    """Write each row's arrays in their order; return how many rows there were."""
    count = 0
    with zipfile.ZipFile(path, "w") as archive:
        for row in rows:
            for name, array in row.items():
                with archive.open(f"{count:06}/{name}.npy", "w", force_zip64=True) as file:
                    npy.write_array(file, np.asanyarray(array), allow_pickle=False)
            count += 1
    return count


class Rows:
    """The rows of a file that stays open: it may be removed meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the file."""
        self._archive = zipfile.ZipFile(path)
        self._names: list[list[str]] = []
        for name in self._archive.namelist():
            number = int(name.partition("/")[0])
            self._names += [[] for _ in range(number + 1 - len(self._names))]
            self._names[number].append(name)

    def __len__(self) -> int:
        """Say how many rows there are."""
        return len(self._names)

    def read(self, start: int, stop: int) -> Iterator[dict[str, Array]]:
        """Yield some rows, read anew."""
        for names in self._names[start:stop]:
            yield {_name(file): self._read(file) for file in names}

    def _read(self, file: str) -> Array:
        with self._archive.open(file) as stream:
            array: Array = npy.read_array(stream, allow_pickle=False)
        return array


def write_answers(path: Path, answers: Iterable[Iterable[Array]]) -> None:
    """Write a list of outputs a sample."""
    write_rows(path, ({str(n): array for n, array in enumerate(row)} for row in answers))


def read_answers(path: Path) -> list[list[Array]]:
    """Read them again."""
    rows = Rows(path)
    return [list(row.values()) for row in rows.read(0, len(rows))]


def _name(file: str) -> str:
    return file.partition("/")[2].removesuffix(".npy")
