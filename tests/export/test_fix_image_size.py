"""Images get the size that the model's directory names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.errors import ModelError
from edgecompile.export.fix_image_size import fix_image_size

Parse = Callable[..., ir.Model]

PATCHES: dict[str, Any] = {"w": np.ones((8, 1, 4, 4), np.float32)}
OPEN = "(float[b,c,h,w0] pixel_values) => (float[b,8,p,q] y) { y = Conv(pixel_values, w) }"


def fixed(model: ir.Model, folder: Path, **files: object) -> list[int | str]:
    """Write JSON files beside a model; return the shape that its first input is given."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    found = fix_image_size(model, folder).graph.inputs[0].shape
    assert found is not None
    return [axis if isinstance(axis, int) else str(axis.value) for axis in found]


@pytest.mark.parametrize(
    "files",
    [
        {"config": {"image_size": 32}},
        {"config": {"image_size": [32, 32]}},
        {"config": {"vision_config": {"image_size": 32}, "image_size": 64}},
        {"preprocessor_config": {"size": {"height": 32, "width": 32}}},
        {"config": {}, "preprocessor_config": {"size": {"shortest_edge": 40}, "crop_size": 32}},
    ],
)
def test_the_size_comes_from_the_models_own_files(
    graph: Parse, tmp_path: Path, files: dict[str, object]
) -> None:
    """config.json first, then what the preprocessor makes; channels from the first convolution."""
    assert fixed(graph(OPEN, **PATCHES), tmp_path, **files) == ["b", 1, 32, 32]


def test_what_is_stated_stays(graph: Parse, tmp_path: Path) -> None:
    """An image of fixed size needs no file, and the model is handed back as it is."""
    text = "(float[b,1,16,16] pixel_values) => (float[b,8,p,q] y) { y = Conv(pixel_values, w) }"
    model = graph(text, **PATCHES)
    assert fix_image_size(model, tmp_path) is model


def test_a_cache_is_no_image(graph: Parse, tmp_path: Path) -> None:
    """Keys [batch, heads, past, d] are of rank 4 too."""
    model = graph("(float[b,4,past,8] past_key) => (float[b,4,past,8] y) { y = Neg(past_key) }")
    assert fix_image_size(model, tmp_path) is model


@pytest.mark.parametrize("size", [None, 0, -1, True, 10**9, "32", [32], {"shortest_edge": 32}])
def test_a_size_that_is_none_is_asked_for(graph: Parse, tmp_path: Path, size: object) -> None:
    """One line names the input, the keys that were looked for, and what to do."""
    with pytest.raises(ModelError, match=r"pixel_values.*image_size.*crop_size.*fixed ones") as e:
        fixed(graph(OPEN, **PATCHES), tmp_path, config={"image_size": size})
    assert "\n" not in str(e.value)


def test_files_that_are_no_json_are_named(graph: Parse, tmp_path: Path) -> None:
    """A broken preprocessor file is not passed over."""
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"preprocessor_config\.json: not readable JSON"):
        fix_image_size(graph(OPEN, **PATCHES), tmp_path)
