"""How modules.json is read, and the embedding that it asks for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.pooling import Pooling, append, read

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Run = Callable[..., list[Array]]

STATES = """(float[batch,sequence,4] x, int64[batch,sequence] attention_mask)
    => (float[batch,sequence,4] hidden) { hidden = Neg(x) }"""


@pytest.fixture
def folder(checkpoint: Callable[..., Path]) -> Path:
    """Return a sentence-transformers directory with mean pooling, normalised."""
    return checkpoint("bert", sentence_transformers=True)


def write_modules(folder: Path, *kinds: str) -> Path:
    """Write modules.json with these kinds."""
    modules = [{"path": f"{i}_{kind}", "type": f"x.{kind}"} for i, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return folder / "modules.json"


def write_modes(folder: Path, **modes: Any) -> Path:
    """Write the pooling module's config.json."""
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps(modes), encoding="utf-8")
    return path


# ------------------------------------------------------------------ reading


def test_a_directory_without_modules_is_not_pooled(checkpoint: Callable[..., Path]) -> None:
    """A plain checkpoint keeps its token states."""
    assert read(checkpoint("bert")) is None


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_mode_and_normalisation_are_read(
    checkpoint: Callable[..., Path], mode: str, *, normalise: bool
) -> None:
    """The mode that is on, and whether a Normalize module follows."""
    folder = checkpoint("bert", sentence_transformers=True, pooling=mode, normalise=normalise)
    assert read(folder) == Pooling(mode, normalise)


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["Transformer"],
        ["Pooling", "Transformer"],
        ["Transformer", "Pooling", "Dense"],
        ["Transformer", "Pooling", "Dense", "Normalize"],
        ["Transformer", "Pooling", "Normalize", "Normalize"],
        ["WordEmbeddings", "Pooling"],
    ],
)
def test_other_chains_of_modules_are_refused(folder: Path, kinds: list[str]) -> None:
    """A chain that would compute something else is not passed over in silence."""
    path = write_modules(folder, *kinds)
    with pytest.raises(UnsupportedError) as error:
        read(folder)
    assert str(error.value) == (
        f"{path}: modules {kinds} are not known; known: Transformer, Pooling, Normalize"
    )


@pytest.mark.parametrize("content", ['{"a": 1}', "5", '["Transformer"]', '[{"type": "x.Pooling"}]'])
def test_another_shape_of_modules_is_one_line(folder: Path, content: str) -> None:
    """JSON that is not a list of modules names the file."""
    path = folder / "modules.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelError) as error:
        read(folder)
    assert str(error.value) == f"{path}: not a sentence-transformers list of modules"


def test_broken_modules_json_names_the_file(folder: Path) -> None:
    """JSON that cannot be parsed names the file."""
    path = folder / "modules.json"
    path.write_text("[", encoding="utf-8")
    with pytest.raises(ModelError) as error:
        read(folder)
    assert str(error.value).startswith(f"{path}: not valid JSON: ")


def test_a_missing_pooling_folder_is_told(folder: Path) -> None:
    """A directory copied without its subfolders names the file that lacks."""
    (folder / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ModelError) as error:
        read(folder)
    assert str(error.value) == (
        f"{folder}/1_Pooling/config.json: the pooling module's config.json is missing; copy the"
        " whole directory"
    )


def test_a_pooling_folder_elsewhere_is_not_read(folder: Path) -> None:
    """modules.json cannot point outside the model's directory."""
    outside = folder.parent / "outside"
    outside.mkdir()
    (outside / "config.json").write_text('{"pooling_mode_cls_token": true}', encoding="utf-8")
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "../outside", "type": "x.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    with pytest.raises(ModelError, match=r"outside/config\.json: the pooling module's config"):
        read(folder)


@pytest.mark.parametrize(
    ("modes", "chosen"),
    [
        ({"pooling_mode_max_tokens": True}, ["pooling_mode_max_tokens"]),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            ["pooling_mode_cls_token", "pooling_mode_mean_tokens"],
        ),
        ({"pooling_mode_mean_tokens": False}, []),
    ],
)
def test_other_pooling_is_refused(folder: Path, modes: dict[str, bool], chosen: list[str]) -> None:
    """Max pooling, two modes at once and none at all are named with what is known."""
    path = write_modes(folder, **modes)
    with pytest.raises(UnsupportedError) as error:
        read(folder)
    assert str(error.value) == (
        f"{path}: pooling {chosen} is not known; known: pooling_mode_mean_tokens,"
        " pooling_mode_cls_token"
    )


def test_another_shape_of_the_pooling_config_is_one_line(folder: Path) -> None:
    """A pooling config.json that is not an object names the file."""
    path = folder / "1_Pooling" / "config.json"
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ModelError) as error:
        read(folder)
    assert str(error.value) == f"{path}: not a JSON object"


# ------------------------------------------------------------------ computing


def pooled(graph: Parse, mode: str, *, normalise: bool) -> ir.Model:
    """Append pooling to a graph of token states."""
    model = graph(STATES)
    append(model.graph, model.graph.outputs[0], Pooling(mode, normalise))
    return model


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("mode", ["mean", "cls"])
def test_the_embedding_is_that_of_sentence_transformers(
    graph: Parse, run: Run, random: np.random.Generator, mode: str, *, normalise: bool
) -> None:
    """The mean leaves padding out, wherever it stands; cls takes the first token."""
    x = random.normal(size=(3, 5, 4)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 0, 1, 1]])
    rows = [-states[valid == 1].mean(axis=0) for states, valid in zip(x, mask, strict=True)]
    expected = -x[:, 0] if mode == "cls" else np.array(rows)
    if normalise:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    (embedding,) = run(pooled(graph, mode, normalise=normalise), {"x": x, "attention_mask": mask})
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-6)


def test_the_graph_returns_the_embedding_alone(graph: Parse) -> None:
    """The one output is sentence_embedding [batch, width]."""
    (output,) = pooled(graph, "mean", normalise=True).graph.outputs
    assert (output.name, str(output.shape), output.dtype) == (
        "sentence_embedding", "[batch,4]", ir.DataType.FLOAT,
    )  # fmt: skip


def test_nothing_to_average_gives_zero_not_nan(graph: Parse, run: Run) -> None:
    """A sequence of padding alone has the embedding 0."""
    feed = {"x": np.ones((1, 3, 4), np.float32), "attention_mask": np.zeros((1, 3), np.int64)}
    (embedding,) = run(pooled(graph, "mean", normalise=True), feed)
    np.testing.assert_array_equal(embedding, np.zeros((1, 4), np.float32))


def test_the_hubs_cache_of_links_is_read(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """In the Hub's cache each file is a link into another folder: it is still the model's own."""
    folder = checkpoint("bert", sentence_transformers=True)
    config = folder / "1_Pooling" / "config.json"
    config.rename(tmp_path / "blob")
    config.symlink_to(tmp_path / "blob")
    assert read(folder) == Pooling("mean", normalise=True)
