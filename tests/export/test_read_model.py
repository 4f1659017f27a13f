"""Which route a path takes, what its files are, and the one line where there is none."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export import native, read_model
from edgecompile.export.read_model import Source, export, find_source, pooled

Checkpoint = Callable[..., Path]
Parse = Callable[..., ir.Model]


@pytest.fixture
def without_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let optimum be missing, whatever is installed."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


@pytest.fixture
def onnx_file(tmp_path: Path, graph: Parse) -> Path:
    """Return an .onnx file."""
    path = tmp_path / "relu.onnx"
    ir.save(graph("(float[b,s,4] x) => (float[b,s,4] y) { y = Relu(x) }"), path)
    return path


# ------------------------------------------------------------------ routes


@pytest.mark.parametrize("head", [None, "sequence", "token"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta"])
def test_known_families_need_no_torch(
    checkpoint: Checkpoint, without_optimum: None, family: str, head: str | None
) -> None:
    """A directory of a known family and head goes through the native exporter."""
    del without_optimum
    assert find_source(checkpoint(family, head)).route == "native"


def test_an_onnx_file_goes_its_own_way(onnx_file: Path) -> None:
    """A file that ends in .onnx is read as one."""
    source = find_source(onnx_file)
    assert (source.route, source.name, source.folder) == ("onnx", "relu", onnx_file.parent)
    assert [node.op_type for node in export(source).graph] == ["Relu"]


def test_an_unknown_architecture_names_the_extra(
    checkpoint: Checkpoint, without_optimum: None
) -> None:
    """The message says what was found, what needs no torch, and what to install."""
    del without_optimum
    folder = checkpoint("bert", model_type="gpt2", architectures=["GPT2LMHeadModel"])
    with pytest.raises(UnsupportedError) as error:
        find_source(folder)
    assert str(error.value) == (
        f"{folder}/config.json: architecture 'gpt2 GPT2LMHeadModel' is not among those exported"
        f" without torch ({', '.join(native.families())}); pip install 'edgecompile[export]' for"
        " all others"
    )


def test_an_unknown_head_of_a_known_family_is_unknown(
    checkpoint: Checkpoint, without_optimum: None
) -> None:
    """A head that the native exporter cannot write is not dropped: the model is refused."""
    del without_optimum
    folder = checkpoint("bert", architectures=["BertForQuestionAnswering"])
    with pytest.raises(UnsupportedError, match="head 'BertForQuestionAnswering' is not exported"):
        find_source(folder)


def test_optimum_takes_the_others_where_it_is_installed(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the extra installed an unknown architecture is tried, not refused."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    source = find_source(checkpoint("bert", model_type="gpt2"))
    assert source.route == "optimum"


@pytest.mark.parametrize("model_type", [None, ""])
def test_a_config_without_an_architecture_is_told(checkpoint: Checkpoint, model_type: Any) -> None:
    """config.json of something that is no transformer names the key that lacks."""
    folder = checkpoint("bert", model_type="bert")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"model_type": model_type}
    path.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError) as error:
        find_source(folder)
    assert str(error.value) == f"{path}: key 'model_type' is missing; it names the architecture"


def test_every_route_is_described() -> None:
    """Help and docs have a sentence for each route."""
    assert set(read_model.routes()) == {"native", "optimum", "onnx"}
    assert all(read_model.routes().values())


# ------------------------------------------------------------------ paths that are no model


def test_a_missing_onnx_file_is_told(tmp_path: Path) -> None:
    """A file that is not there is told from a directory that is not there."""
    with pytest.raises(ModelError) as error:
        find_source(tmp_path / "gone.onnx")
    assert str(error.value) == (
        f"{tmp_path}/gone.onnx: no such file; give an .onnx file or a Hugging Face model directory"
    )


def test_another_file_is_told(tmp_path: Path) -> None:
    """A file of another kind is not a model."""
    path = tmp_path / "model.safetensors"
    path.touch()
    with pytest.raises(ModelError) as error:
        find_source(path)
    assert str(error.value) == (
        f"{path}: not an .onnx file; give an .onnx file or a Hugging Face model directory"
    )


def test_a_missing_directory_is_told(tmp_path: Path) -> None:
    """Any other path that does not exist is taken for a directory."""
    with pytest.raises(ModelError) as error:
        find_source(tmp_path / "models" / "minilm")
    assert str(error.value) == (
        f"{tmp_path}/models/minilm: no such directory; give a Hugging Face model directory or an"
        " .onnx file"
    )


# ------------------------------------------------------------------ a source


def test_a_directory_gives_its_name_to_the_bundle(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dot or a trailing slash does not lose the name."""
    folder = checkpoint("bert", name="my-model")
    assert find_source(Path(f"{folder}/")).name == "my-model"
    monkeypatch.chdir(folder)
    assert find_source(Path()).name == "my-model"


def test_files_are_what_graph_and_tokens_come_from(checkpoint: Checkpoint) -> None:
    """The manifest hashes these; a README changes nothing."""
    folder = checkpoint("bert", sentence_transformers=True)
    (folder / "README.md").touch()
    assert [str(path.relative_to(folder)) for path in find_source(folder).files] == [
        "1_Pooling/config.json",
        "config.json",
        "model.safetensors",
        "modules.json",
        "tokenizer.json",
    ]


def test_the_index_of_shards_is_one_of_the_files(checkpoint: Checkpoint) -> None:
    """The index says which tensor comes from which shard: it belongs to the inputs."""
    folder = checkpoint("bert")
    (folder / "model.safetensors.index.json").touch()
    names = [path.name for path in find_source(folder).files]
    assert "model.safetensors.index.json" in names


@pytest.mark.parametrize("data", ["add.onnx.data", "weights.bin", "below/weights.bin"])
def test_external_data_of_any_name_is_one_of_the_files(
    tmp_path: Path, graph: Parse, data: str
) -> None:
    """The manifest holds the hash of all that went in, whatever the exporter called it."""
    model = graph("(float[512] x) => (float[512] y) { y = Add(x, w) }", w=np.ones(512, np.float32))
    (tmp_path / data).parent.mkdir(exist_ok=True)
    ir.save(model, tmp_path / "add.onnx", external_data=data)
    for name in ("tokenizer.json", "add.onnx.old", "other.onnx"):
        (tmp_path / name).touch()
    names = [str(path.relative_to(tmp_path)) for path in find_source(tmp_path / "add.onnx").files]
    assert names == ["add.onnx", data, "tokenizer.json"]


def test_a_source_without_config_cannot_be_exported(tmp_path: Path) -> None:
    """A hand-made source of a directory is refused in words."""
    with pytest.raises(ModelError, match=r"a directory without config\.json"):
        export(Source(tmp_path, "native"))


# ------------------------------------------------------------------ pooling a foreign graph


STATES = """(int64[b,s] attention_mask, float[b,s,4] x) => (float[b,s,4] states)
    { states = Neg(x) }"""


def test_optimum_graphs_are_pooled_afterwards(checkpoint: Checkpoint, graph: Parse) -> None:
    """The optimum exporter gives token states: modules.json is applied to a copy of its graph."""
    source = Source(checkpoint("bert", sentence_transformers=True), "optimum")
    model = graph(STATES)
    assert [v.name for v in pooled(source, model).graph.outputs] == ["sentence_embedding"]
    assert [v.name for v in model.graph.outputs] == ["states"]


def test_other_graphs_are_not_pooled_again(checkpoint: Checkpoint, graph: Parse) -> None:
    """The native exporter pools itself, and a directory without modules.json wants none."""
    model = graph(STATES)
    sentence = checkpoint("bert", sentence_transformers=True)
    assert pooled(Source(sentence, "native"), model) is model
    assert pooled(Source(checkpoint("bert", name="plain"), "optimum"), model) is model
