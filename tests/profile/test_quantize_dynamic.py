"""The peer, onnxruntime's dynamic int8: made from small models, not tried on big ones."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.emit import onnxruntime
from edgecompile.profile.quantize_dynamic import model_bytes, quantize_dynamic

LINEAR = "(float[b,64] x) => (float[b,64] y) { y = MatMul(x, w) }"


@pytest.fixture
def model(graph: Callable[..., ir.Model], tmp_path: Path) -> Path:
    """Write a float model whose weights lie in a second file."""
    parsed = graph(LINEAR, opset=20, w=np.ones((64, 64), np.float32))
    name, _ = onnxruntime.write(parsed, tmp_path, {}, one_file_bytes=0)
    return tmp_path / name


def test_a_small_model_is_quantized(model: Path, tmp_path: Path) -> None:
    """The dynamic int8 model is written and there is nothing to explain."""
    assert quantize_dynamic(model, tmp_path / "dynamic.onnx") is None
    assert (tmp_path / "dynamic.onnx").is_file()


def test_a_big_model_is_not_tried(model: Path, tmp_path: Path) -> None:
    """Above the limit nothing is written; the reason names the size, external weights included."""
    size = model_bytes(model)
    assert size > 64 * 64 * 4
    why = quantize_dynamic(model, tmp_path / "dynamic.onnx", largest_bytes=size - 1)
    assert why is not None
    assert why.startswith("not tried: the float model has")
    assert not (tmp_path / "dynamic.onnx").exists()
