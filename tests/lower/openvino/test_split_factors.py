"""What OpenVINO would compute inside a convolution stays outside; the numbers stay the same."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.emit import onnxruntime, openvino
from edgecompile.facts import ATTENTION_LOWERED, INT8

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

RANDOM = np.random.default_rng(91)
ARRAYS: dict[str, Any] = {
    "step": np.float32(0.02),
    "zero": np.uint8(77),
    "q": RANDOM.integers(-60, 61, (16, 8, 1)).astype(np.int8),
    "scale": np.full(16, 0.01, np.float32),
    "bias": RANDOM.normal(size=16).astype(np.float32),
    "factors": RANDOM.uniform(0.2, 2, (1, 16, 1)).astype(np.float32),
    "two": np.float32(2),
}
INSIDE = {
    "equalised": "m = Gelu(c) y = Mul(m, factors)",
    "the other way round": "m = Relu(c) y = Add(factors, m)",
    "by steps": "m = Tanh(c) n = Mul(two, m) y = Div(n, factors)",
}
OUTSIDE = {
    "no activation": "y = Mul(c, factors)",
    "a number": "m = Gelu(c) y = Mul(m, two)",
    "no convolution": "m = Gelu(t) n = ReduceMax<keepdims = 1>(m) y = Mul(n, factors)",
}


def body(after: str, batch: str = "b", length: str = "s") -> str:
    """Return an int8 convolution of tokens with something after it."""
    return f"""(float[{batch},{length},8] x) => (float[{batch},16,{length}] y) {{
        u = QuantizeLinear(x, step, zero) d = DequantizeLinear(u, step, zero)
        t = Transpose<perm = [0, 2, 1]>(d) w = DequantizeLinear<axis = 0>(q, scale)
        c = Conv(t, w, bias) {after} }}"""


@pytest.fixture(scope="session")
def split(rewrite: Rewrite) -> Callable[[ir.Model], ir.Model]:
    """Return a function that runs the pass on what it may be given."""

    def apply(model: ir.Model) -> ir.Model:
        model.metadata_props.update({ATTENTION_LOWERED: "yes", INT8: "yes"})
        return rewrite("lower/openvino", model, "split-factors")

    return apply


def feed(batch: int, length: int) -> dict[str, Array]:
    """Return tokens."""
    return {"x": np.random.default_rng(92).normal(size=(batch, length, 8)).astype(np.float32)}


@pytest.mark.parametrize("after", INSIDE.values(), ids=INSIDE)
def test_factors_are_no_constant(
    graph: Parse, split: Rewrite, equal: Callable[..., None], counts: Counts, after: str
) -> None:
    """The numbers are the same for any number of positions."""
    model = graph(body(after), opset=23, **ARRAYS)
    done = split(model)
    assert counts(done)["Size"] == 1
    equal(model, done, feed(1, 1))
    equal(model, done, feed(2, 5))


@pytest.mark.parametrize("after", OUTSIDE.values(), ids=OUTSIDE)
def test_all_else_stays(graph: Parse, split: Rewrite, counts: Counts, after: str) -> None:
    """Only what OpenVINO gets wrong costs anything."""
    model = graph(body(after), opset=23, **ARRAYS)
    assert counts(split(model)) == counts(model)


def test_fixed_sizes_need_nothing(graph: Parse, split: Rewrite, counts: Counts) -> None:
    """Two positions are never one."""
    model = graph(body(INSIDE["equalised"], "1", "2"), opset=23, **ARRAYS)
    assert counts(split(model)) == counts(model)


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
@pytest.mark.parametrize("after", INSIDE.values(), ids=INSIDE)
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 2), (3, 1), (2, 9)])
def test_openvino_agrees(  # noqa: PLR0917 - three fixtures, three cases
    graph: Parse, split: Rewrite, tmp_path: Path, after: str, batch: int, length: int
) -> None:
    """On AVX512 it would not, for one token of one text."""
    done = split(graph(body(after), opset=23, **ARRAYS))
    (name,) = onnxruntime.write(done, tmp_path, {})
    answers = [e.runner(tmp_path / name, 1)(feed(batch, length)) for e in (openvino, onnxruntime)]
    np.testing.assert_allclose(answers[0][0], answers[1][0], rtol=1e-3, atol=1e-3)
