"""A tiny dense model, a narrower student of it, data and a recipe: what a training needs."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.export import read_model

WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "with", "be", "on", "by")
RECIPE = """
[model]
source = "{model}"

[calibration]
data = "texts.jsonl"
samples = 16

[distill]
start = "narrow.onnx"
data = "texts.jsonl"
{table}
"""
TABLE = {
    "steps": 40,
    "batch": 16,
    "held_out": 24,
    "evaluate_every": 10,
    "checkpoint_every": 5,
    "learning_rate": 0.003,
}


def cut_ffn(model: ir.Model, kept: Iterable[int]) -> ir.Model:
    """Return a BERT without most of the channels between its FFN's Linears."""
    model, channels = model.clone(), list(kept)
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        array = tensor.numpy()
        if name.endswith("intermediate.dense.weight"):
            array = array[:, channels]
        elif name.endswith("intermediate.dense.bias") or (
            name.endswith("output.dense.weight") and "attention" not in name
        ):
            array = array[channels]
        else:
            continue
        value.const_value = ir.Tensor(np.ascontiguousarray(array), name=name)
        value.shape = ir.Shape(array.shape)
    return model


@pytest.fixture
def narrower() -> Callable[[ir.Model, Iterable[int]], ir.Model]:
    """Return the function that cuts FFN channels."""
    return cut_ffn


@pytest.fixture
def study(tmp_path: Path, checkpoint: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that writes model, student, 300 texts and a recipe; it returns the last.

    Keywords are keys of [distill]; `head` is that of the checkpoint, `kept` the FFN's channels.
    """

    def write(head: str | None = None, kept: int = 16, **table: object) -> Path:
        model = tmp_path / "model"
        if not model.exists():
            checkpoint("bert", head, sentence_transformers=head is None)
        dense = read_model.export(read_model.find_source(model))
        ir.save(cut_ffn(dense, range(kept)), tmp_path / "narrow.onnx")
        random = np.random.default_rng(0)
        with (tmp_path / "texts.jsonl").open("w") as file:
            for number in range(300):
                words = random.choice(WORDS, int(random.integers(3, 20)))
                row = {"text": " ".join(words), "kind": number % 3}
                file.write(json.dumps(row) + "\n")
        lines = [f"{key} = {json.dumps(value)}" for key, value in {**TABLE, **table}.items()]
        path = tmp_path / "recipe.toml"
        path.write_text(RECIPE.format(model=model, table="\n".join(lines)))
        return path

    return write
