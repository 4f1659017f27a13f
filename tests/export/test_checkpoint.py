"""Reading a Hugging Face directory: what is accepted, and the one line for what is not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edgecompile.errors import ModelError
from edgecompile.export import native
from edgecompile.export.checkpoint import INDEX, Config, Weights, open_weights, read_config

Checkpoint = Callable[..., Path]
TABLE = "embeddings.word_embeddings.weight"


@pytest.fixture
def folder(checkpoint: Checkpoint) -> Path:
    """Return a sound BERT directory, for a test to break."""
    return checkpoint("bert")


def opened(folder: Path) -> Weights:
    """Open a directory as the exporter does."""
    return open_weights(folder, read_config(folder))


def shard(folder: Path, index: Any) -> None:
    """Put an index in the place of model.safetensors."""
    (folder / "model.safetensors").unlink()
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")


def split_in_two(folder: Path) -> dict[str, str]:
    """Split model.safetensors into two shards; return tensor -> shard."""
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    places = {
        name: f"model-0000{1 + (number >= len(names) // 2)}-of-00002.safetensors"
        for number, name in enumerate(names)
    }
    for place in sorted(set(places.values())):
        kept = {name: tensors[name] for name in names if places[name] == place}
        save_file(kept, folder / place)
    shard(folder, {"metadata": {"total_size": 1}, "weight_map": places})
    return places


# ------------------------------------------------------------------ config.json


def test_a_missing_directory_is_named_with_what_to_give(tmp_path: Path) -> None:
    """A path that does not exist is answered with the two things that MODEL can be."""
    with pytest.raises(ModelError) as error:
        read_config(tmp_path / "nowhere")
    assert str(error.value) == (
        f"{tmp_path}/nowhere: no such directory; give a Hugging Face model directory or an"
        " .onnx file"
    )


def test_an_empty_directory_is_told_from_one_without_config(tmp_path: Path) -> None:
    """A download that never started reads differently from a directory of something else."""
    rest = "; a model directory holds config.json and model.safetensors"
    with pytest.raises(ModelError) as error:
        read_config(tmp_path)
    assert str(error.value) == f"{tmp_path}: is empty{rest}"
    (tmp_path / "README.md").touch()
    with pytest.raises(ModelError) as error:
        read_config(tmp_path)
    assert str(error.value) == f"{tmp_path}: holds no config.json{rest}"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not valid JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"{'a': 1}", "not valid JSON: Expecting property name enclosed in double quotes"),
        (b'{"a": "\xff"}', "not valid JSON: 'utf-8' codec can't decode byte 0xff"),
        (b"[" * 100_000, "not valid JSON: maximum recursion depth exceeded"),
        (b"[1, 2]", "not a JSON object"),
    ],
    ids=["empty", "python", "latin-1", "nested", "list"],
)
def test_bad_json_is_one_line_that_names_the_file(
    tmp_path: Path, content: bytes, fault: str
) -> None:
    """Whatever config.json holds instead of an object, the message names it and the place in it."""
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError) as error:
        read_config(tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/config.json: {fault}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [None, 0, -3, 2.0, "32", True, [32]])
def test_a_size_must_be_a_positive_integer(value: Any) -> None:
    """A size of another type is named with its key and what was found."""
    with pytest.raises(ModelError) as error:
        Config(Path("config.json"), {"hidden_size": value}).integer("hidden_size")
    assert str(error.value) == (
        f"config.json: key 'hidden_size' must be a positive integer, found {value!r}"
    )


def test_a_missing_size_is_named() -> None:
    """A key that is not there reads as None."""
    with pytest.raises(ModelError, match=r"key 'hidden_size' must be a positive integer, found N"):
        Config(Path("config.json"), {}).integer("hidden_size")


@pytest.mark.parametrize("value", [None, "1e-5", False, [1.0]])
def test_a_number_must_be_a_number(value: Any) -> None:
    """An epsilon of another type is named with its key and what was found."""
    with pytest.raises(ModelError) as error:
        Config(Path("config.json"), {"layer_norm_eps": value}).number("layer_norm_eps", 1e-12)
    assert str(error.value) == (
        f"config.json: key 'layer_norm_eps' must be a number, found {value!r}"
    )


def test_keys_that_transformers_leaves_out_have_its_defaults() -> None:
    """Numbers and texts that are missing take transformers' own default."""
    empty = Config(Path("config.json"), {})
    assert empty.number("layer_norm_eps", 1e-12) == 1e-12
    assert Config(Path("config.json"), {"layer_norm_eps": 1}).number("layer_norm_eps", 0) == 1.0
    assert (empty.text("hidden_act", "gelu"), empty.model_type, empty.architecture) == (
        "gelu", "", "",
    )  # fmt: skip


# ------------------------------------------------------------------ which files


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "a.pth", "a.pkl", "a.ckpt"])
def test_pickled_weights_are_never_loaded(folder: Path, name: str) -> None:
    """A directory with pickled weights alone is refused, with the line that converts them."""
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"cposix\nsystem\n(S'touch /tmp/pwned'\ntR.")
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (
        f"{folder}/{name}: pickled weights can run code and are never loaded; convert them once,"
        ' where you trust them: python -c "from transformers import AutoModel;'
        f" AutoModel.from_pretrained('{folder}').save_pretrained('{folder}',"
        ' safe_serialization=True)"'
    )


def test_safetensors_beside_pickled_weights_are_taken(folder: Path) -> None:
    """A .bin that lies beside the safetensors disturbs nobody."""
    (folder / "pytorch_model.bin").write_bytes(b"junk")
    assert opened(folder).take("embeddings.LayerNorm.bias", 32).shape == (32,)


def test_a_directory_without_weights_is_named(folder: Path) -> None:
    """config.json alone is not a model."""
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (
        f"{folder}: no model.safetensors; a model directory holds config.json and its weights"
    )


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_safetensors_are_told(folder: Path, kept: int) -> None:
    """A download that broke off at any byte is one line that says so."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value).startswith(f"{path}: not a readable safetensors file (")
    assert str(error.value).endswith(
        "); it may be truncated or a Git LFS pointer: download it again"
    )
    assert "\n" not in str(error.value)


def test_a_git_lfs_pointer_is_told(folder: Path) -> None:
    """A clone without Git LFS is one line that says so."""
    path = folder / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n")
    with pytest.raises(ModelError, match=r"it may be truncated or a Git LFS pointer"):
        opened(folder)


# ------------------------------------------------------------------ shards


def test_shards_read_as_one_checkpoint(checkpoint: Checkpoint) -> None:
    """Every tensor of a sharded checkpoint is that of the single file."""
    whole, parts = checkpoint("bert", name="whole"), checkpoint("bert", name="parts")
    places = split_in_two(parts)
    assert len(set(places.values())) == 2
    one, two = opened(whole), opened(parts)
    assert sorted(one.files) == sorted(two.files)
    for name, array in load_file(whole / "model.safetensors").items():
        np.testing.assert_array_equal(one.take(name, *array.shape), two.take(name, *array.shape))


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "a/../../b.safetensors"])
def test_a_shard_outside_the_folder_is_refused(folder: Path, name: str) -> None:
    """An index cannot make the exporter open a file elsewhere."""
    shutil.copyfile(folder / "model.safetensors", folder.parent / "other.safetensors")
    shard(folder, {"weight_map": {TABLE: name}})
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (f"{folder}/{INDEX}: shard '{name}' lies in another folder: refused")


def test_a_missing_shard_is_named(folder: Path) -> None:
    """One shard that was not downloaded is named."""
    places = split_in_two(folder)
    gone = places[TABLE]
    (folder / gone).unlink()
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == (
        f"{folder}/{INDEX}: shard '{gone}' is missing; download the whole checkpoint"
    )


@pytest.mark.parametrize("index", [{}, [], {"weight_map": "model.safetensors"}])
def test_an_index_without_a_map_is_named(folder: Path, index: Any) -> None:
    """An index of another shape is one line."""
    shard(folder, index)
    with pytest.raises(ModelError) as error:
        opened(folder)
    assert str(error.value) == f"{folder}/{INDEX}: no 'weight_map'"


def test_a_truncated_shard_is_told_when_it_is_read(folder: Path) -> None:
    """A shard that broke off is named, not the index."""
    places = split_in_two(folder)
    path = folder / places[TABLE]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError) as error:
        opened(folder).take(TABLE, 1, 1)
    assert str(error.value).startswith(f"{path}: not a readable safetensors file (")


def test_a_tensor_that_its_shard_lacks_is_told(folder: Path) -> None:
    """An index and shards of different downloads are one line, not a traceback."""
    places = split_in_two(folder)
    (other,) = set(places.values()) - {places[TABLE]}
    (folder / INDEX).write_text(json.dumps({"weight_map": places | {TABLE: other}}))
    with pytest.raises(ModelError) as error:
        opened(folder).take(TABLE, 1, 1)
    assert str(error.value).startswith(f"{folder / other}: tensor '{TABLE}' cannot be read: ")
    assert "\n" not in str(error.value)


def test_shards_of_the_hugging_face_cache_are_read(folder: Path) -> None:
    """The cache's snapshots are links into ../../blobs: that is the user's own layout."""
    places = split_in_two(folder)
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for place in set(places.values()):
        (folder / place).rename(blobs / place)
        (folder / place).symlink_to(Path("..") / "blobs" / place)
    assert TABLE in opened(folder).files


# ------------------------------------------------------------------ tensors


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_other_float_types_become_float32(folder: Path, dtype: type) -> None:
    """Weights saved in half, bfloat16 or double arrive as float32, value by value."""
    path = folder / "model.safetensors"
    rounded = {name: array.astype(dtype) for name, array in load_file(path).items()}
    save_file(rounded, path)
    weights = opened(folder)
    for name, array in rounded.items():
        taken = weights.take(name, *array.shape)
        assert taken.dtype == np.float32
        np.testing.assert_array_equal(taken, array.astype(np.float32))


def test_an_integer_tensor_is_not_a_weight(folder: Path) -> None:
    """A checkpoint that something else quantized is refused, tensor and type named."""
    path = folder / "model.safetensors"
    save_file({**load_file(path), TABLE: np.zeros((4, 4), np.int8)}, path)
    with pytest.raises(ModelError) as error:
        opened(folder).take(TABLE, 4, 4)
    assert str(error.value) == f"{path}: tensor '{TABLE}' is int8, not a float type"


def test_a_shape_that_config_does_not_imply_is_told(folder: Path) -> None:
    """Weights of another size than config.json says are refused with both shapes."""
    rows, width = load_file(folder / "model.safetensors")[TABLE].shape
    with pytest.raises(ModelError) as error:
        opened(folder).take(TABLE, rows, width + 1)
    assert str(error.value) == (
        f"{folder}/model.safetensors: tensor '{TABLE}' has shape [{rows}, {width}] but"
        f" config.json implies [{rows}, {width + 1}]: take both from the same checkpoint"
    )


def test_a_missing_tensor_is_named_with_its_prefix(folder: Path) -> None:
    """A tensor that the architecture needs and the weights lack is named in full."""
    weights = opened(folder)
    weights.prefix = "bert."
    with pytest.raises(ModelError) as error:
        weights.take("pooler.dense.weight", 32, 32)
    assert str(error.value) == (
        f"{folder}: tensor 'bert.pooler.dense.weight' is missing from the weights; config.json"
        " says BertModel: take config.json and weights from the same checkpoint"
    )


def test_a_prefix_is_tried_before_the_bare_name(checkpoint: Checkpoint) -> None:
    """A head's checkpoint holds the encoder under a prefix and the classifier without."""
    folder = checkpoint("bert", "token")
    tensors = load_file(folder / "model.safetensors")
    weights = opened(folder)
    weights.prefix = "bert."
    np.testing.assert_array_equal(
        weights.take("embeddings.LayerNorm.bias", 32), tensors["bert.embeddings.LayerNorm.bias"]
    )
    np.testing.assert_array_equal(weights.take("classifier.bias", 3), tensors["classifier.bias"])


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("hidden_act", [1], "must be a text, found [1]"),
        ("layer_norm_eps", float("inf"), "must be a number, found inf"),
        ("num_hidden_layers", True, "must be a positive integer, found True"),
    ],
)
def test_values_of_the_wrong_kind_are_told(
    checkpoint: Callable[..., Path], key: str, value: object, found: str
) -> None:
    """A value that is not what its key holds is never taken for the default."""
    folder = checkpoint("bert")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    config = read_config(folder)
    with pytest.raises(ModelError) as error:
        native.export(folder, config)
    assert str(error.value) == f"{path}: key '{key}' {found}"
