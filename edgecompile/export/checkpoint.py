"""A Hugging Face directory: its config.json and its safetensors, checked before use."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import ModelError

if TYPE_CHECKING:
    from edgecompile.graph import Array, FloatArray

PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class Config:
    """config.json, with errors that name the key."""

    path: Path
    values: Mapping[str, Any]

    def integer(self, key: str) -> int:
        """Return a positive integer."""
        value = self.values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            msg = f"{self.path}: key '{key}' must be a positive integer, found {value!r}"
            raise ModelError(msg)
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number, or the default that transformers uses."""
        value = self.values.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e30:
            msg = f"{self.path}: key '{key}' must be a number, found {value!r}"
            raise ModelError(msg)
        return float(value)

    def text(self, key: str, default: str) -> str:
        """Return a string, or the default that transformers uses."""
        value = self.values.get(key)
        if not isinstance(value, str | None):
            msg = f"{self.path}: key '{key}' must be a text, found {value!r}"
            raise ModelError(msg)
        return default if value is None else value

    @property
    def model_type(self) -> str:
        """Return the architecture family, e.g. "bert"."""
        return self.text("model_type", "")

    @property
    def architecture(self) -> str:
        """Return the class that saved the checkpoint, e.g. "BertForTokenClassification"."""
        names = self.values.get("architectures")
        return str(names[0]) if isinstance(names, list) and names else ""


@dataclass(slots=True)
class Weights:
    """The tensors of a checkpoint, taken one by one as float32."""

    folder: Path
    config: Config
    files: dict[str, Path]
    prefix: str = ""
    handles: dict[Path, Any] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def take(self, name: str, *shape: int) -> "FloatArray":
        """Return one tensor as float32 and check the shape that config.json implies."""
        full = self.full_name(name)
        if full not in self.files:
            msg = (
                f"{self.folder}: tensor '{self.prefix}{name}' is missing from the weights;"
                f" config.json says {self.config.architecture or self.config.model_type}:"
                " take config.json and weights from the same checkpoint"
            )
            raise ModelError(msg)
        array = self.read(full)
        if array.dtype.kind not in "fV" and array.dtype.name != "bfloat16":
            msg = f"{self.files[full]}: tensor '{full}' is {array.dtype}, not a float type"
            raise ModelError(msg)
        array = np.ascontiguousarray(array, dtype=np.float32)
        self.taken.add(full)
        if array.shape != shape:
            msg = (
                f"{self.files[full]}: tensor '{full}' has shape {list(array.shape)} but"
                f" config.json implies {list(shape)}: take both from the same checkpoint"
            )
            raise ModelError(msg)
        return array

    def full_name(self, name: str) -> str:
        """Return the name of a tensor in the files: with the prefix, unless only without it."""
        return self.prefix + name if self.prefix + name in self.files else name

    def check_layers_taken(self) -> None:
        """Fail if a layer's tensor was left over: config.json knows fewer layers than there are."""
        left = [name for name in self.files if ".layer." in name and name not in self.taken]
        if left:
            msg = (
                f"{self.files[left[0]]}: holds tensor '{left[0]}', which config.json does not"
                " account for: take both from the same checkpoint"
            )
            raise ModelError(msg)

    def _open(self, path: Path) -> Any:
        if path not in self.handles:
            self.handles[path] = _open_safetensors(path)
        return self.handles[path]

    def read(self, full: str) -> "Array":
        """Return a tensor as it is stored, by its name in the files."""
        from safetensors import SafetensorError

        try:
            array: Array = self._open(self.files[full]).get_tensor(full)
        except (SafetensorError, ValueError, TypeError) as error:
            msg = f"{self.files[full]}: tensor '{full}' cannot be read: {error}"
            raise ModelError(msg) from error
        return array


def read_config(folder: Path) -> Config:
    """Read config.json of a model directory."""
    if not folder.is_dir():
        msg = f"{folder}: no such directory; give a Hugging Face model directory or an .onnx file"
        raise ModelError(msg)
    path = folder / "config.json"
    if not path.is_file():
        found = "is empty" if not any(folder.iterdir()) else "holds no config.json"
        msg = f"{folder}: {found}; a model directory holds config.json and model.safetensors"
        raise ModelError(msg)
    values = read_json(path)
    if not isinstance(values, dict):
        msg = f"{path}: not a JSON object"
        raise ModelError(msg)
    return Config(path, values)


def read_json(path: Path) -> Any:
    """Read a small JSON file of the model directory."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"{path}: not valid JSON: {error}"
        raise ModelError(msg) from error


def open_weights(folder: Path, config: Config) -> Weights:
    """Open the safetensors of a model directory; nothing is read yet."""
    return Weights(folder, config, _tensor_files(folder))


def _tensor_files(folder: Path) -> dict[str, Path]:
    index = folder / INDEX
    if index.is_file():
        return _sharded(folder, index)
    path = folder / "model.safetensors"
    if path.is_file():
        return dict.fromkeys(_open_safetensors(path).keys(), path)
    pickled = [p.name for pattern in PICKLED for p in sorted(folder.glob(pattern))]
    if pickled:
        msg = (
            f"{folder / pickled[0]}: pickled weights can run code and are never loaded; convert"
            ' them once, where you trust them: python -c "from transformers import AutoModel;'
            f" AutoModel.from_pretrained('{folder}').save_pretrained('{folder}',"
            ' safe_serialization=True)"'
        )
        raise ModelError(msg)
    msg = f"{folder}: no model.safetensors; a model directory holds config.json and its weights"
    raise ModelError(msg)


def _sharded(folder: Path, index: Path) -> dict[str, Path]:
    table = read_json(index)
    shards = table.get("weight_map") if isinstance(table, dict) else None
    if not isinstance(shards, dict):
        msg = f"{index}: no 'weight_map'"
        raise ModelError(msg)
    files: dict[str, Path] = {}
    for tensor, name in shards.items():
        path = folder / str(name)
        if path.parent != folder or path.name in ("", ".."):  # the Hub's cache links each file
            msg = f"{index}: shard '{name}' lies in another folder: refused"
            raise ModelError(msg)
        if not path.is_file():
            msg = f"{index}: shard '{name}' is missing; download the whole checkpoint"
            raise ModelError(msg)
        files[str(tensor)] = path
    return files


def _open_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        msg = (
            f"{path}: not a readable safetensors file ({error}); it may be truncated or a Git LFS"
            " pointer: download it again"
        )
        raise ModelError(msg) from error
