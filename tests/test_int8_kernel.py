"""What the engines' int8 kernels compute on this CPU: exact integer sums, or saturated ones."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.engines import engine
from edgecompile.graph import MICROSOFT, add_initializer
from edgecompile.host import read_host
from edgecompile.rounding import quantize_weight
from edgecompile.session import session

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is not installed"
)
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


def by_openvino(
    q: np.ndarray, scale: np.ndarray, x_scale: float, zero: int, file: Path
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function uint8 x -> the same as OpenVINO computes it; q [in, out] or [out, in, 1].

    A weight of [in, out] is multiplied, one of [out, in, 1] convolved with.
    """
    arrays = {"q": q, "x_scale": np.float32(x_scale), "scale": scale, "zero": np.uint8(zero)}
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20}, name="kernel")
    value = ir.val("x", ir.DataType.FLOAT, [1, None, INPUTS])
    graph.inputs.append(value)
    q_, s_, w_, z_ = (add_initializer(graph, n, np.asarray(a)) for n, a in arrays.items())
    tape = ir.tape.Tape()
    rounded = tape.op("QuantizeLinear", [value, s_, z_])
    rounded = tape.op("DequantizeLinear", [rounded, s_, z_])
    w = tape.op("DequantizeLinear", [q_, w_], {"axis": 0 if q.ndim == 3 else 1})
    if q.ndim == 3:
        swapped = tape.op("Transpose", [rounded], {"perm": [0, 2, 1]})
        y = tape.op("Transpose", [tape.op("Conv", [swapped, w])], {"perm": [0, 2, 1]})
    else:
        y = tape.op("MatMul", [rounded, w])
    graph.extend(tape.nodes)
    y.name, y.type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.append(y)
    ir.save(ir.Model(graph, ir_version=9), file)
    run = engine("openvino").runner(file, 1)
    return lambda x: run({"x": (x.astype(np.float32)[None] - zero) * np.float32(x_scale)})[0][0]


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


@needs_openvino
@pytest.mark.parametrize("form", ["matmul", "convolution"])
@pytest.mark.parametrize("name", HOSTILE)
def test_pairs_do_not_saturate_in_openvino(name: str, form: str, tmp_path: Path) -> None:
    """Nor do they in OpenVINO's kernels, in either form of a Linear."""
    q, scale = quantize_weight(HOSTILE[name].astype(np.float32), "int8-pairs")
    stored = np.ascontiguousarray(q.T)[:, :, None] if form == "convolution" else q
    for zero in (0, 128, 255):
        run = by_openvino(stored, scale, 0.03, zero, tmp_path / "kernel.onnx")
        for rows in (1, 2, 7, 33):
            x = activations(rows)
            exact = by_numpy(x, q, scale, 0.03, zero)
            np.testing.assert_allclose(run(x), exact, rtol=1e-6, atol=1e-6 * np.abs(exact).max())


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


@needs_openvino
def test_plain_int8_saturates_in_openvino_too(tmp_path: Path) -> None:
    """Without VNNI its kernels sum in 16 bits as well: OpenVINO's files need pairs there."""
    host = read_host()
    if host.isa != "x86_64" or "avx2" not in host.features or "vnni" in host.features:
        pytest.skip("this CPU sums int8 products in 32 bits")
    q, scale = quantize_weight(HOSTILE["signs at random"].astype(np.float32), "int8")
    x = activations(7)
    found = by_openvino(q, scale, 0.03, 0, tmp_path / "kernel.onnx")(x)
    exact = by_numpy(x, q, scale, 0.03, 0)
    assert np.abs(found - exact).max() > 0.01 * np.abs(exact).max()
