"""What `inspect` shows of widths, from records that may say anything."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.read_model import export, find_source
from edgecompile.inspect_file import inspect_file

GROUP = {"kind": "channels", "units": 64, "kept": 48}


def test_a_directory_is_shown_as_its_graph(checkpoint: Callable[..., Path]) -> None:
    """Nothing was cut: heads and channels as they are."""
    folder = checkpoint("distilbert")
    found = inspect_file(folder)
    assert found["size_bytes"] == (folder / "model.safetensors").stat().st_size
    assert found["operators"]["Attention"] == 2
    row = found["widths"][1]
    assert row["layer"] == "transformer.layer.1"
    assert [(g["units"], g["kept"]) for g in (*row["heads"], *row["channels"])] == [
        (4, 4), (64, 64),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("manifest.json", {"pruning": {"groups": {"encoder.layer.0.ffn": GROUP}}}),
        ("student.json", {"groups": {"encoder.layer.0.ffn": GROUP}}),
        ("edgecompile.json", {"groups": {"encoder.layer.0.ffn": GROUP}}),
    ],
)
def test_each_record_tells_of_the_dense_model(
    checkpoint: Callable[..., Path], tmp_path: Path, name: str, record: dict[str, Any]
) -> None:
    """A bundle's, a student's, and that of a model that was written back."""
    ir.save(export(find_source(checkpoint())), tmp_path / "student.onnx")
    (tmp_path / name).write_text(json.dumps(record))
    assert inspect_file(tmp_path)["widths"] == [
        {
            "layer": "encoder.layer.0",
            "heads": [],
            "channels": [{"name": "encoder.layer.0.ffn", "units": 64, "kept": 48}],
        }
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"groups": 7}',
        '{"groups": {"a": 7}}',
        '{"groups": {"a": {"kind": "other", "units": 2, "kept": 1}}}',
        '{"groups": {"a": {"kind": "heads", "units": "2", "kept": 1}}}',
        '{"groups": {"a": {"kind": ["heads"], "units": 2, "kept": -1}}}',
    ],
)
def test_a_record_of_anything_else_is_not_believed(
    checkpoint: Callable[..., Path], text: str
) -> None:
    """The graph itself tells."""
    folder = checkpoint()
    (folder / "edgecompile.json").write_text(text)
    assert [row["heads"][0]["kept"] for row in inspect_file(folder)["widths"]] == [4, 4]


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    """One line."""
    with pytest.raises(
        ModelError, match=r"give an .onnx or .tflite file, or the folder of a bundle or a"
    ):
        inspect_file(tmp_path)


def test_a_directory_of_another_family_is_told(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have to be exported by torch first."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    folder = checkpoint("bert", architectures=["BertForMaskedLM"])
    with pytest.raises(UnsupportedError, match="must be exported first; `edgecompile build` it"):
        inspect_file(folder)
