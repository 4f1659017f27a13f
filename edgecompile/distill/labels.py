"""The labels of samples: a column of the data's own file, or a .npy beside it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.data.lines import read_lines
from edgecompile.errors import DataError
from edgecompile.graph import Array

TABLES = {".csv": None, ".tsv": "\t"}


def read_labels(data: Path, labels: str, file: Path, classes: int) -> Array:
    """Return one class a sample, [samples] int64; fail where one is not in [0, classes).

    `labels` names a column of a .jsonl, .csv or .tsv; of other data it is the .npy `file`.
    """
    suffix = data.suffix.lower()
    if suffix == ".jsonl":
        found = list(_of_objects(data, labels))
    elif suffix in TABLES:
        found = list(_of_table(data, labels))
    else:
        found = [(f"{file}, entry {n}", value) for n, value in enumerate(_of_array(file), 1)]
    for place, value in found:
        if not 0 <= value < classes:
            msg = f"{place}: label {value}; the model has {classes} classes, 0 to {classes - 1}"
            raise DataError(msg)
    return np.array([value for _, value in found], np.int64)


def _whole(place: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool | float):
        msg = f"{place}: label {value!r} is not a whole number"
        raise DataError(msg)
    return number


def _of_objects(path: Path, key: str) -> Iterator[tuple[str, int]]:
    for number, line in read_lines(path):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                value = json.loads(line)[key]
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                msg = f"{place}: not a JSON object with the key '{key}'"
                raise DataError(msg) from error
            yield place, _whole(place, value)


def _of_table(path: Path, column: str) -> Iterator[tuple[str, int]]:
    header = next(read_lines(path), (0, ""))[1]
    delimiter = TABLES[path.suffix.lower()] or max(",;\t", key=header.count)
    rows = csv.DictReader(
        (line for _, line in read_lines(path, newline="")), delimiter=delimiter, strict=True
    )
    try:
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            if column not in row:
                msg = f"{path}: no column '{column}'; columns: {', '.join(rows.fieldnames or ())}"
                raise DataError(msg)
            yield place, _whole(place, row[column])
    except csv.Error as error:
        msg = f"{path}, line {rows.line_num}: not a row of a .csv: {error}"
        raise DataError(msg) from error


def _of_array(path: Path) -> list[int]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        msg = f"{path}: not readable labels ({error}); give a .npy of whole numbers [samples]"
        raise DataError(msg) from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
        msg = f"{path}: labels are whole numbers [samples]"
        raise DataError(msg)
    return [int(n) for n in array]
