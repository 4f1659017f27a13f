"""Labels: from the data's own file or a .npy; each is a class that the model has."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgecompile.distill.labels import read_labels
from edgecompile.errors import DataError


def test_labels_of_each_kind_of_file(tmp_path: Path) -> None:
    """A key of .jsonl, a column of .csv and .tsv, an array of .npy."""
    rows = [{"text": "a", "kind": 1}, {"text": "b", "kind": 0}, {"text": "c", "kind": 2}]
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows))
    (tmp_path / "a.csv").write_text('text,kind\n"x, y",1\nz,0\nw,2\n')
    (tmp_path / "a.tsv").write_text("text\tkind\nx\t1\nz\t0\nw\t2\n")
    np.save(tmp_path / "kind.npy", np.array([1, 0, 2], np.int32))
    for name in ("a.jsonl", "a.csv", "a.tsv"):
        found = read_labels(tmp_path / name, "kind", tmp_path / "kind", 3)
        assert found.tolist() == [1, 0, 2]
    assert read_labels(tmp_path / "a.npz", "", tmp_path / "kind.npy", 3).tolist() == [1, 0, 2]


def test_a_label_out_of_range_is_named(tmp_path: Path) -> None:
    """With its line and the classes that there are."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "kind": 1}\n{"text": "b", "kind": 3}\n')
    with pytest.raises(DataError, match=r"line 2: label 3; the model has 3 classes, 0 to 2"):
        read_labels(path, "kind", path, 3)


@pytest.mark.parametrize("value", ['"one"', "1.5", "null", "true"])
def test_what_is_no_whole_number_is_refused(tmp_path: Path, value: str) -> None:
    """In one line."""
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a", "kind": {value}}}\n')
    with pytest.raises(DataError, match="is not a whole number"):
        read_labels(path, "kind", path, 3)


def test_missing_labels_are_named(tmp_path: Path) -> None:
    """A column that is not there; a .npy that is not readable, or holds pickles."""
    (tmp_path / "a.csv").write_text("text,kind\nx,1\n")
    with pytest.raises(DataError, match="no column 'class'; columns: text, kind"):
        read_labels(tmp_path / "a.csv", "class", tmp_path / "class", 3)
    with pytest.raises(DataError, match=r"missing\.npy: not readable labels"):
        read_labels(tmp_path / "a.npz", "", tmp_path / "missing.npy", 3)
    np.save(tmp_path / "objects.npy", np.array([{}, 1], object), allow_pickle=True)
    with pytest.raises(DataError, match="not readable labels"):
        read_labels(tmp_path / "a.npz", "", tmp_path / "objects.npy", 3)
