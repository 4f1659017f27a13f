"""Texts in a column of a table: .csv (commas, semicolons or tabs) or .tsv, with a header."""

import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from edgecompile.data.lines import LINE_CHARACTERS, read_lines
from edgecompile.data.source import Kind, Request, Source
from edgecompile.data.text_source import text_source
from edgecompile.errors import DataError

NAMES = ("text", "sentence", "content", "document")
"""What a column of texts is often called."""
DELIMITERS = ",;\t"
LOOKED_AT = 32
"""Rows that tell a column of texts from one of numbers."""


def read_column(path: Path, column: str = "") -> Iterator[str]:
    """Yield the texts of a column, row by row as they are asked for; empty cells are none.

    Without a name: the only column that is called as such columns are, else the only one that
    holds more than numbers.
    """
    names = next(_rows(path), (0, []))[1]
    index = _index(path, names, column)
    empty = True
    for number, row in islice(_rows(path), 1, None):
        if index >= len(row):
            msg = f"{path}, line {number}: the row has no column '{names[index]}'"
            raise DataError(msg)
        if row[index].strip():
            empty = False
            yield row[index]
    if empty:
        msg = f"{path}: column '{names[index]}' holds no text"
        raise DataError(msg)


def _index(path: Path, names: Sequence[str], column: str) -> int:
    """Return which column holds the texts."""
    if column:
        if names.count(column) != 1:
            how = "no column" if column not in names else "more than one column"
            msg = f"{path}: {how} '{column}'; columns: {_listed(names)}"
            raise DataError(msg)
        return names.index(column)
    called = [i for i, name in enumerate(names) if name.strip().lower() in NAMES]
    if len(called) == 1:
        return called[0]
    rows = [row for _, row in islice(_rows(path), 1, 1 + LOOKED_AT)]
    wordy = [i for i in range(len(names)) if any(_is_word(row, i) for row in rows)]
    if len(wordy) == 1:
        return wordy[0]
    msg = (
        f"{path}: which column holds the texts? name it as 'column' in the recipe's [calibration]"
        f" or [evaluate], as 'vocabulary_column' in its [prune]; columns: {_listed(names)}"
    )
    raise DataError(msg)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:20])
    return f"{shown}, ..." if len(names) > 20 else shown or "none"


def _is_word(row: Sequence[str], index: int) -> bool:
    cell = row[index].strip() if index < len(row) else ""
    try:
        float(cell or "0")
    except ValueError:
        return True
    return False


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of each row that is not blank; quoted cells may hold newlines."""
    csv.field_size_limit(LINE_CHARACTERS)
    header = next(read_lines(path), (0, ""))[1]
    delimiter = max(DELIMITERS, key=lambda sign: len(_split(header, sign)))
    reader = csv.reader(
        (line for _, line in read_lines(path, newline="")), delimiter=delimiter, strict=True
    )
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        msg = f"{path}, line {reader.line_num}: not a row of a .csv: {error}"
        raise DataError(msg) from error


def _split(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def open_column(path: Path, files: Sequence[Path], request: Request) -> Source:
    """Open a .csv or .tsv."""
    return text_source(path, files, request, lambda: read_column(path, request.column))


KIND = Kind("text", "a table (.csv, .tsv)", open_column, (".csv", ".tsv"), columns=True)
