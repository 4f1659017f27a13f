"""Give an image input the size that the model's directory names: exporters leave it open.

pixel_values [batch, num_channels, height, width]   ->   pixel_values [batch, 3, 224, 224]

An edge artifact reads one size; with it known, all shape arithmetic of the patches folds away.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecompile.errors import ModelError
from edgecompile.graph import dim

LARGEST = 4096
"""Pixels a side: more is a mistake, or an attack on the compiler's memory."""


def fix_image_size(model: ir.Model, folder: Path) -> ir.Model:
    """Return a model whose image inputs, rank 4 and float, have no open axis but the batch."""
    found = [value for value in model.graph.inputs if _is_open_image(value)]
    if not found:
        return model
    model = model.clone()
    for value in (v for v in model.graph.inputs if _is_open_image(v)):
        height, width = _image_size(folder, str(value.name))
        sizes = (_channels(value), height, width)
        axes = list(value.shape or ())
        stated = [d if isinstance(d, int) else n for d, n in zip(axes[1:], sizes, strict=True)]
        value.shape = ir.Shape([axes[0], *stated])
    return model


def _is_open_image(value: ir.Value) -> bool:
    axes = list(value.shape or ())
    floats = value.dtype is not None and value.dtype.is_floating_point()
    image = "pixel" in str(value.name) or any(n.op_type == "Conv" for n in value.consumers())
    return floats and image and len(axes) == 4 and not all(isinstance(d, int) for d in axes[1:])


def _channels(value: ir.Value) -> int:
    """Return the channels that the first convolution reads."""
    for node in value.consumers():
        if node.op_type == "Conv" and (weight := node.inputs[1]) is not None and weight.shape:
            group = node.attributes["group"].as_int() if "group" in node.attributes else 1
            return dim(weight, 1) * group
        if node.op_type in ("Cast", "Identity"):
            return _channels(node.outputs[0])
    return 3


def _image_size(folder: Path, name: str) -> tuple[int, int]:
    """Return height and width: config.json's image_size, else what the preprocessor makes."""
    config = _read(folder / "config.json")
    nested = config.get("vision_config")
    candidates: list[Any] = [config.get("image_size")]
    if isinstance(nested, Mapping):
        candidates.insert(0, nested.get("image_size"))
    processor = _read(folder / "preprocessor_config.json")
    candidates += [processor.get(key) for key in ("crop_size", "size")]
    for candidate in candidates:
        if (size := _pair(candidate)) is not None:
            return size
    msg = (
        f"{folder}: input '{name}' is an image of open height and width, and neither config.json"
        " (image_size) nor preprocessor_config.json (crop_size, size) names them; export it with"
        " fixed ones"
    )
    raise ModelError(msg)


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, Mapping):
        size = (size.get("height"), size.get("width"))
    pair = size if isinstance(size, list | tuple) else (size, size)
    fits = all(type(n) is int and 1 <= n <= LARGEST for n in pair)
    return (pair[0], pair[1]) if fits and len(pair) == 2 else None


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: not readable JSON: {error}"
        raise ModelError(msg) from error
    return values if isinstance(values, dict) else {}
