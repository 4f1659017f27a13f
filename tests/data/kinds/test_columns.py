"""Texts in a column of a .csv or .tsv."""

from pathlib import Path

import pytest

from edgecompile.data.kinds.columns import read_column
from edgecompile.errors import DataError


def write(folder: Path, text: str, name: str = "data.csv") -> Path:
    """Write a table as it stands."""
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("table", "column", "texts"),
    [
        ("id,words\n1,one two\n2,three\n", "", ["one two", "three"]),
        ("label,Text\nx,one\ny,two\n", "", ["one", "two"]),
        ("label,body\nx,one\ny,two\n", "body", ["one", "two"]),
        ('text\n"one\nline, ""two"""\nthree\n', "", ['one\nline, "two"', "three"]),
        ("\ufefftext\r\none\r\n\r\ntwo\r\n", "", ["one", "two"]),
        ('text;n\n"one; two";1\nthree, four;2\n', "", ["one; two", "three, four"]),
        ("text,n\none,1\n,2\n ,3\ntwo,4\n", "", ["one", "two"]),
    ],
    ids=["only words", "named", "asked for", "quoted", "BOM and CRLF", "semicolons", "empty cells"],
)
def test_a_column_gives_its_texts(
    tmp_path: Path, table: str, column: str, texts: list[str]
) -> None:
    """The asked column, the one called as columns of texts are, or the only one with words."""
    assert list(read_column(write(tmp_path, table), column)) == texts


def test_tabs_part_a_tsv(tmp_path: Path) -> None:
    """A .tsv is read alike."""
    path = write(tmp_path, "sentence\tn\none, two\t1\n", "data.tsv")
    assert list(read_column(path)) == ["one, two"]


@pytest.mark.parametrize(
    ("table", "column", "what"),
    [
        ("a,b\nx,y\n", "", ": which column holds the texts? name it as 'column' in the recipe's"),
        ("text,content\nx,y\n", "", ": which column holds the texts? name it as 'column'"),
        ("a,b\nx,y\n", "c", ": no column 'c'; columns: a, b"),
        ("a,a\nx,y\n", "a", ": more than one column 'a'; columns: a, a"),
        ("n,m\n1,2\n", "", ": which column holds the texts?"),
        ("", "", ": which column holds the texts?"),
        ("text\n", "", ": column 'text' holds no text"),
        ("n,text\n1,x\n2\n", "", ", line 3: the row has no column 'text'"),
        ('text\n"x\n', "", ", line 2: not a row of a .csv: "),
    ],
)
def test_a_table_that_does_not_fit_is_named(
    tmp_path: Path, table: str, column: str, what: str
) -> None:
    """The file, the line or column, and what to do."""
    path = write(tmp_path, table)
    with pytest.raises(DataError) as caught:
        list(read_column(path, column))
    assert str(caught.value).startswith(f"{path}{what}")
    assert "\n" not in str(caught.value)


def test_large_cells_are_read_and_endless_ones_are_not(tmp_path: Path) -> None:
    """A cell may hold a book; a quote that never ends does not fill the memory."""
    book = "word " * 100_000
    assert list(read_column(write(tmp_path, f"text\n{book}\n"))) == [book]
    endless = write(tmp_path, 'text\n"' + "word\n" * 4_000_000)
    with pytest.raises(DataError, match="field larger than field limit"):
        list(read_column(endless))


def test_rows_behind_the_last_wanted_one_are_not_read(tmp_path: Path) -> None:
    """What nobody asks for is not parsed."""
    texts = read_column(write(tmp_path, "text\n" + "one\n" * 40 + '"broken'))
    assert [next(texts) for _ in range(5)] == ["one"] * 5
