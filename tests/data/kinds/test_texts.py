"""Texts, one a line: .txt and .jsonl."""

import json
import re
from pathlib import Path

import pytest

from edgecompile.data.kinds.texts import read_texts
from edgecompile.errors import DataError


def test_txt_is_one_text_a_line(tmp_path: Path) -> None:
    """A .txt holds one text a line; empty lines are skipped, JSON is not looked for."""
    path = tmp_path / "data.txt"
    path.write_text('one two\n\n  \n{"text": 3}\nnaïve\n', encoding="utf-8")
    assert list(read_texts(path)) == ["one two", '{"text": 3}', "naïve"]


def test_jsonl_is_one_object_a_line(tmp_path: Path) -> None:
    """A .jsonl holds one object with a text a line; other keys and empty lines do not matter."""
    path = tmp_path / "data.jsonl"
    lines = [{"text": "one\ntwo"}, {"label": 1, "text": "naïve"}]
    path.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert list(read_texts(path)) == ["one\ntwo", "naïve"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not a JSON object with the key 'text'"),
        ("one", "not a JSON object with the key 'text'"),
        ('{"Text": "one"}', "not a JSON object with the key 'text'"),
        ('["text"]', "not a JSON object with the key 'text'"),
        ('"text"', "not a JSON object with the key 'text'"),
        ("5", "not a JSON object with the key 'text'"),
        ("[" * 100_000, "not a JSON object with the key 'text'"),
        ('{"text": 5}', "'text' is not a text"),
        ('{"text": null}', "'text' is not a text"),
        ('{"text": ["one"]}', "'text' is not a text"),
        ('{"text": " "}', "'text' is not a text"),
    ],
    ids=lambda value: value[:20],
)
def test_wrong_line_is_named_by_its_number(tmp_path: Path, line: str, what: str) -> None:
    """A line of a .jsonl that holds no text: the file, the line as editors count, and why."""
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "one"}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_texts(path))
    assert str(caught.value) == f"{path}, line 3: {what}"


@pytest.mark.parametrize("name", ["data.txt", "data.jsonl"])
@pytest.mark.parametrize("text", ["", "\n \n"])
def test_file_without_text_is_an_error(tmp_path: Path, name: str, text: str) -> None:
    """An empty file calibrates nothing, and the message says what to give."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_texts(path))
    assert str(caught.value) == (
        f"{path}: holds no text; give a .txt file with a text a line, or a .jsonl"
    )


def test_unreadable_texts_are_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, and a file that is not there: the path and the reason."""
    path = tmp_path / "data.txt"
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot read texts from it: ")):
        list(read_texts(path))
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot read texts from it: 'utf-8'")):
        list(read_texts(path))


def test_line_separators_of_unicode_stay_in_a_text(tmp_path: Path) -> None:
    """Only a newline ends a line; a byte order mark is no part of the first text."""
    path = tmp_path / "texts.txt"
    path.write_text("\ufeffone\u2028line\ntwo\n", encoding="utf-8")
    assert list(read_texts(path)) == ["one\u2028line", "two"]
