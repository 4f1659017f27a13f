"""Texts, one a line: .txt, or .jsonl with a text in each object."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecompile.data.lines import read_lines
from edgecompile.data.source import Kind, Request, Source
from edgecompile.data.text_source import text_source
from edgecompile.errors import DataError

KEY = "text"


def read_texts(path: Path, key: str = "") -> Iterator[str]:
    """Yield the texts of a file, read as they are asked for; empty lines are none."""
    number = 0
    for number, text in enumerate(_texts(path, key or KEY), 1):  # noqa: B007 - counts
        yield text
    if not number:
        msg = f"{path}: holds no text; give a .txt file with a text a line, or a .jsonl"
        raise DataError(msg)


def _texts(path: Path, key: str) -> Iterator[str]:
    whole = path.suffix.lower() == ".txt"
    for number, line in read_lines(path):
        if line.strip():
            yield line if whole else _text(path, number, line, key)


def _text(path: Path, number: int, line: str, key: str) -> str:
    try:
        text = json.loads(line)[key]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"{path}, line {number}: not a JSON object with the key '{key}'"
        raise DataError(msg) from error
    if not isinstance(text, str) or not text.strip():
        msg = f"{path}, line {number}: '{key}' is not a text"
        raise DataError(msg)
    return text


def open_texts(path: Path, files: Sequence[Path], request: Request) -> Source:
    """Open a .txt or .jsonl; the column of a .jsonl is a key of its objects."""
    if request.column and path.suffix.lower() == ".txt":
        msg = f"{path}: a .txt has no columns; leave out 'column'"
        raise DataError(msg)
    return text_source(path, files, request, lambda: read_texts(path, request.column))


KIND = Kind("text", "text (.txt, .jsonl)", open_texts, (".txt", ".jsonl"), columns=True)
