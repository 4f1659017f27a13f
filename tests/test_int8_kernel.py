"""What onnxruntime's int8 kernel computes on this CPU: exact integer sums, or saturated ones."""

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.graph import MICROSOFT, add_initializer
from edgecompile.profile.host import read_host
from edgecompile.rounding import quantize_weight
from edgecompile.session import session

INPUTS, OUTPUTS = 96, 48
"""Products summed, which stay below 2^24 and so exact in float32, and columns."""

SHAPE = (INPUTS, OUTPUTS)
PLACE = np.arange(INPUTS)[:, None] % 4
"""Each row's place among four: the kernel reads weights in fours and adds neighbours first."""
SEEDED = np.random.default_rng(11)
HOSTILE = {
    "all the largest": np.ones(SHAPE),
    "all the smallest": -np.ones(SHAPE),
    "neighbours of one sign": np.where(PLACE < 2, 1, -1) * np.ones(SHAPE),
    "neighbours of opposite sign": np.where(PLACE % 2, 1, -1) * np.ones(SHAPE),
    "one large beside one small": np.where(PLACE % 2, 1, 1 / 127) * np.ones(SHAPE),
    "one large pair in two": np.where(PLACE < 2, 1, 1 / 127) * np.ones(SHAPE),
    "large in the first half": np.where(np.arange(INPUTS)[:, None] < INPUTS // 2, 1, 1 / 127)
    * np.ones(SHAPE),
    "signs at random": SEEDED.choice([-1, 1], SHAPE),
    "normal": SEEDED.normal(size=SHAPE),
    "a few outliers": SEEDED.standard_t(2, SHAPE),
}


def activations(rows: int) -> np.ndarray:
    """Return uint8 [rows, in]: all 255, 255 in turn, ends of the range, anything, all 0."""
    random = np.random.default_rng(5)
    rows_of = [
        np.full(INPUTS, 255),
        np.where(np.arange(INPUTS) % 4 < 2, 255, 0),
        np.where(np.arange(INPUTS) % 2, 255, 0),
        random.choice([0, 255], INPUTS),
        random.integers(0, 256, INPUTS),
        np.zeros(INPUTS),
    ]
    return np.array([rows_of[row % len(rows_of)] for row in range(rows)], np.uint8)


def by_kernel(
    x: np.ndarray, q: np.ndarray, scale: np.ndarray, x_scale: float, zero: int
) -> np.ndarray:
    """Return MatMulIntegerToFloat(x, q) as this machine's onnxruntime computes it."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20, MICROSOFT: 1}, name="kernel")
    value = ir.val("x", ir.DataType.UINT8, [None, INPUTS])
    graph.inputs.append(value)
    arrays = {"q": q, "x_scale": np.float32(x_scale), "scale": scale, "zero": np.uint8(zero)}
    q_, s_, w_, z_ = (add_initializer(graph, n, np.asarray(a)) for n, a in arrays.items())
    node = ir.node("MatMulIntegerToFloat", [value, q_, s_, w_, z_], domain=MICROSOFT)
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph.append(node)
    graph.outputs.append(node.outputs[0])
    return session(ir.Model(graph, ir_version=10), threads=1).run(None, {"x": x})[0]


def by_numpy(
    x: np.ndarray, q: np.ndarray, scale: np.ndarray, x_scale: float, zero: int
) -> np.ndarray:
    """Return the same from exact integer sums."""
    total = (x.astype(np.int64) - zero) @ q.astype(np.int64)
    assert np.abs(total).max() < 2**24
    return total.astype(np.float64) * (scale.astype(np.float64) * float(np.float32(x_scale)))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("rows", [1, 2, 7, 33])
@pytest.mark.parametrize("zero", [0, 128, 255])
def test_pairs_do_not_saturate(name: str, rows: int, zero: int) -> None:
    """With weights kept in pairs, the kernel's sums are numpy's integer sums, on any x86 or ARM."""
    q, scale = quantize_weight(HOSTILE[name].astype(np.float32), "int8-pairs")
    x = activations(rows)
    found, exact = (f(x, q, scale, 0.03, zero) for f in (by_kernel, by_numpy))
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["all the largest", "signs at random"])
def test_plain_int8_saturates_without_vnni(name: str) -> None:
    """AVX2's 16-bit sums cut plain int8 weights off, which is what "int8-pairs" is for."""
    host = read_host()
    if host.isa != "x86_64" or "avx2" not in host.features or "vnni" in host.features:
        pytest.skip("this CPU sums int8 products in 32 bits")
    q, scale = quantize_weight(HOSTILE[name].astype(np.float32), "int8")
    x = activations(7)
    found, exact = (f(x, q, scale, 0.03, 0) for f in (by_kernel, by_numpy))
    assert np.abs(found - exact).max() > 0.01 * np.abs(exact).max()
