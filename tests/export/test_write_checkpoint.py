"""export -> cut -> write -> export again: the same graph, and the same answers bit for bit."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from safetensors.numpy import load_file, save_file

from edgecompile.errors import ModelError
from edgecompile.export import native
from edgecompile.export.checkpoint import read_config
from edgecompile.export.write_checkpoint import write_checkpoint
from edgecompile.graph import linears
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.find_layers import find_layers
from edgecompile.prune.remove_layers import remove_layers
from edgecompile.prune.remove_units import remove_units
from edgecompile.session import session
from edgecompile.target import REFERENCE

Array = npt.NDArray[Any]
Checkpoint = Callable[..., Path]
TABLE = "embeddings.word_embeddings.weight"
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta")


def exported(folder: Path) -> ir.Model:
    """Export a directory."""
    return native.export(folder, read_config(folder))


def cut(model: ir.Model, *, even: bool = False) -> ir.Model:
    """Take units out of every group; unless `even`, another number of each."""
    groups = find_groups(model).found
    keep = {
        group.name: list(range(number if group.kind == "channels" and not even else 1, group.units))
        for number, group in enumerate(groups, 1)
    }
    return remove_units(model, groups, keep)


def write(model: ir.Model, folder: Path, output: Path) -> bool:
    """Write a graph of the checkpoint in `folder`."""
    output.mkdir()
    for beside in ("modules.json", "1_Pooling/config.json"):
        if (folder / beside).is_file():
            (output / beside).parent.mkdir(exist_ok=True)
            (output / beside).write_bytes((folder / beside).read_bytes())
    return write_checkpoint(model, folder, read_config(folder), output)


def config_of(folder: Path) -> dict[str, Any]:
    """Return config.json."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def answer(model: ir.Model) -> list[Array]:
    """Return a float graph's answers to a padded batch."""
    random = np.random.default_rng(0)
    mask = np.ones((3, 9), np.int64)
    mask[-1, 5:] = 0
    feed: Mapping[str, Array] = {
        "input_ids": random.integers(5, 100, mask.shape),
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(mask),
    }
    names = [str(value.name) for value in model.graph.inputs]
    opened = session(lower(model, FLOAT, REFERENCE))
    found: list[Array] = opened.run(None, {name: feed[name] for name in names})
    return found


def assert_same(model: ir.Model, again: ir.Model) -> None:
    """Both answer alike, bit for bit."""
    for before, after in zip(answer(model), answer(again), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("head", [None, "sequence", "token"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_cut_graph_comes_back(
    checkpoint: Checkpoint, tmp_path: Path, family: str, head: str | None
) -> None:
    """Layers of other widths, and a narrower pooler: the directory gives the same answers."""
    folder = checkpoint(family, head)
    model = cut(exported(folder))
    assert not write(model, folder, tmp_path / "out")
    again = exported(tmp_path / "out")
    assert_same(model, again)
    shapes = [[tuple(x.weight.shape or ()) for x in linears(m.graph)] for m in (model, again)]
    assert shapes[0] == shapes[1]
    assert (tmp_path / "out" / "model.safetensors").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("family", FAMILIES)
def test_even_widths_are_said_in_transformers_words(
    checkpoint: Checkpoint, tmp_path: Path, family: str
) -> None:
    """No key of ours: one number of channels, and the heads that each layer lacks."""
    folder = checkpoint(family)
    model = cut(exported(folder), even=True)
    assert write(model, folder, tmp_path / "out")
    values = config_of(tmp_path / "out")
    assert "edgecompile" not in values
    assert values["hidden_dim" if family == "distilbert" else "intermediate_size"] == 63
    assert values["pruned_heads"] == {"0": [3], "1": [3]}
    assert_same(model, exported(tmp_path / "out"))


def test_a_graph_that_was_not_cut_is_the_checkpoint(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Tensors have the checkpoint's names, shapes and bytes; config.json says the same sizes."""
    folder = checkpoint("bert", "sequence")
    assert write(exported(folder), folder, tmp_path / "out")
    before, after = (load_file(f / "model.safetensors") for f in (folder, tmp_path / "out"))
    assert before.keys() == after.keys()
    for name, array in before.items():
        np.testing.assert_array_equal(array, after[name])
    assert config_of(tmp_path / "out") == config_of(folder) | {"torch_dtype": "float32"}


def test_it_can_be_cut_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A directory that was written back is a model like any other."""
    folder = checkpoint("bert", "sequence")
    write(cut(exported(folder)), folder, tmp_path / "once")
    model = cut(exported(tmp_path / "once"))
    write(model, tmp_path / "once", tmp_path / "twice")
    assert_same(model, exported(tmp_path / "twice"))
    assert config_of(tmp_path / "twice")["pruned_heads"] == {"0": [2, 3], "1": [2, 3]}


def test_what_the_graph_does_not_read_is_copied(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A pooler, whole numbers, and RoBERTa's second token type; halves become float32."""
    folder = checkpoint("roberta", type_vocab_size=2)
    path = folder / "model.safetensors"
    tensors = {name: array.astype(np.float16) for name, array in load_file(path).items()}
    more = {"pooler.dense.weight": np.eye(32, dtype=np.float16)}
    more |= {"embeddings.position_ids": np.arange(64)[None]}
    save_file(tensors | more, path)
    model = cut(exported(folder))
    write(model, folder, tmp_path / "out")
    assert_same(model, exported(tmp_path / "out"))
    found = load_file(tmp_path / "out" / "model.safetensors")
    np.testing.assert_array_equal(found["embeddings.position_ids"], np.arange(64)[None])
    for name in ("pooler.dense.weight", "embeddings.token_type_embeddings.weight"):
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], (tensors | more)[name])


@pytest.mark.parametrize("head", [None, "token"])
def test_layers_that_are_left_are_numbered_anew(
    checkpoint: Checkpoint, tmp_path: Path, head: str | None
) -> None:
    """Without the middle one of three, the last becomes the second."""
    folder = checkpoint("bert", head, num_hidden_layers=3)
    dense = exported(folder)
    layers = find_layers(dense)
    model = cut(remove_layers(dense, layers, [layers[1].name]))
    write(model, folder, tmp_path / "out")
    assert config_of(tmp_path / "out")["num_hidden_layers"] == 2
    assert not any("layer.2" in n for n in load_file(tmp_path / "out" / "model.safetensors"))
    assert_same(model, exported(tmp_path / "out"))


def test_sentence_embeddings_come_back(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """Pooling is not in the weights: its constants are no tensors."""
    folder = checkpoint("bert", sentence_transformers=True)
    model = cut(exported(folder))
    write(model, folder, tmp_path / "out")
    assert_same(model, exported(tmp_path / "out"))
    assert all(n[:4] in {"embe", "enco"} for n in load_file(tmp_path / "out" / "model.safetensors"))


@pytest.mark.parametrize("part", ["nodes", "encoder.layer.1.intermediate.dense.weight", TABLE])
def test_a_foreign_graph_is_refused(checkpoint: Checkpoint, tmp_path: Path, part: str) -> None:
    """A student with parts of other names has no place in the family's directory."""
    folder = checkpoint("bert")
    model = exported(folder)
    if part == "nodes":
        for node in model.graph:
            node.name = f"n.{node.name}"
    else:
        value = model.graph.initializers.pop(part)
        value.name = "onnx::MatMul_7"
        model.graph.register_initializer(value)
    with pytest.raises(ModelError, match="layers have other names than this family's"):
        write(model, folder, tmp_path / "out")


def test_wrong_widths_are_told(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """A config.json that says other widths than the weights have names the tensor."""
    folder = checkpoint("bert")
    write(cut(exported(folder)), folder, tmp_path / "out")
    path = tmp_path / "out" / "config.json"
    values = config_of(tmp_path / "out")
    values["pruned_heads"]["0"] = [2, 3]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ModelError) as raised:
        exported(tmp_path / "out")
    assert "'encoder.layer.0.attention.self.query.weight' has shape [24, 32]" in str(raised.value)
    assert "config.json implies [16, 32]" in str(raised.value)
