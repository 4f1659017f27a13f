"""Gemm written as MatMul and Add, with all of its attributes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.graph import linears

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

RANDOM = np.random.default_rng(3)
W = RANDOM.normal(size=(8, 5)).astype(np.float32)
B = RANDOM.normal(size=5).astype(np.float32)
X = RANDOM.normal(size=(3, 8)).astype(np.float32)


def gemm(graph: Parse, attributes: str = "", inputs: str = "x, w, b", **arrays: Any) -> ir.Model:
    """Return y = Gemm(x, w, b)."""
    text = f"(float[n,8] x) => (float[n,5] y) {{ y = Gemm{attributes}({inputs}) }}"
    return graph(text, **arrays)


def test_a_linear_of_torch_becomes_a_linear(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """TransB is folded into the weight: [in, out], and the bias is the model's own."""
    after = canonicalise("convert-gemm", gemm(graph, "<transB = 1>", w=W.T.copy(), b=B), {"x": X})
    assert counts(after) == {"Add": 1, "MatMul": 1}
    (linear,) = linears(after.graph)
    np.testing.assert_array_equal(linear.weight.const_value.numpy(), W)
    assert linear.bias is not None
    assert linear.bias.name == "b"


def test_without_a_bias_there_is_no_add(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Gemm of two inputs is a MatMul."""
    after = canonicalise("convert-gemm", gemm(graph, inputs="x, w", w=W), {"x": X})
    assert counts(after) == {"MatMul": 1}


@pytest.mark.parametrize("shape", [(5,), (1, 5), (1,), ()])
def test_every_shape_of_bias_broadcasts(
    graph: Parse, canonicalise: Canonicalise, shape: tuple[int, ...]
) -> None:
    """A vector, a row or one number is added as Gemm adds it."""
    bias = np.full(shape, 0.5, np.float32)
    canonicalise("convert-gemm", gemm(graph, w=W, b=bias), {"x": X})


@pytest.mark.parametrize("transposed", [0, 1])
@given(
    factors=st.tuples(st.sampled_from([1.0, 0.5, -2.0]), st.sampled_from([1.0, 0.5, 0.0])),
    rows=st.integers(1, 9),
)
def test_alpha_and_beta_are_applied(
    graph: Parse,
    canonicalise: Canonicalise,
    transposed: int,
    factors: tuple[float, float],
    rows: int,
) -> None:
    """Both factors, with the weight either way round."""
    attributes = f"<alpha = {factors[0]}, beta = {factors[1]}, transB = {transposed}>"
    model = gemm(graph, attributes, w=W.T.copy() if transposed else W, b=B)
    x = np.random.default_rng(rows).normal(size=(rows, 8)).astype(np.float32)
    after = canonicalise("convert-gemm", model, {"x": x})
    assert [n.op_type for n in after.graph if n.op_type != "Mul"] == ["MatMul", "Add"]


@pytest.mark.parametrize("attributes", ["", "<transB = 1>", "<alpha = 0.5>"])
def test_a_computed_weight_is_transposed_and_scaled_in_the_graph(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, attributes: str
) -> None:
    """Where the weight is no initializer, the operators that Gemm implies are written."""
    shape = "5,8" if "transB" in attributes else "8,5"
    text = f"""(float[n,8] x, float[{shape}] w) => (float[n,5] y)
        {{ v = Neg(w) y = Gemm{attributes}(x, v, b) }}"""
    feed = {"x": X, "w": W.T.copy() if "transB" in attributes else W}
    after = counts(canonicalise("convert-gemm", graph(text, b=B), feed))
    assert (after["MatMul"], after["Add"]) == (1, 1)
    assert after.get("Transpose", 0) == ("transB" in attributes)
    assert after.get("Mul", 0) == ("alpha" in attributes)


def test_a_computed_weight_in_half_precision_is_scaled(
    graph: Parse, canonicalise: Canonicalise
) -> None:
    """The factor has the type of what it multiplies."""
    text = """(float16[n,8] x, float16[8,5] w) => (float16[n,5] y)
        { v = Neg(w) y = Gemm<alpha = 0.5>(x, v, b) }"""
    feed = {"x": np.ones((3, 8), np.float16), "w": np.ones((8, 5), np.float16)}
    canonicalise("convert-gemm", graph(text, b=np.ones(5, np.float16)), feed)


def test_a_transposed_input_is_transposed_in_the_graph(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """TransA concerns an activation."""
    text = "(float[8,n] x) => (float[n,5] y) { y = Gemm<transA = 1>(x, w, b) }"
    model = graph(text, w=W, b=B)
    after = canonicalise("convert-gemm", model, {"x": X.T.copy()})
    assert counts(after) == {"Add": 1, "MatMul": 1, "Transpose": 1}


def test_two_gemms_may_share_a_weight(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Each use of the shared weight is converted for itself."""
    text = """(float[n,8] x) => (float[n,8] y)
        { h = Gemm<transB = 1>(x, w, b) r = Relu(h) y = Gemm<transB = 1, alpha = 2.0>(r, w, b) }"""
    square, bias = np.ascontiguousarray(RANDOM.normal(size=(8, 8)), np.float32), np.ones(8, "f")
    after = canonicalise("convert-gemm", graph(text, w=square, b=bias), {"x": X})
    assert counts(after) == {"Add": 2, "MatMul": 2, "Relu": 1}


def test_a_scaled_bias_is_still_the_bias_of_a_linear(
    graph: Parse, canonicalise: Canonicalise
) -> None:
    """Beta is folded into the bias: a Mul of two constants would hide the bias from a Linear."""
    after = canonicalise("convert-gemm", gemm(graph, "<beta = 0.5>", w=W, b=B), {"x": X})
    (linear,) = linears(after.graph)
    assert linear.bias is not None


def test_other_graphs_are_left_alone(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A MatMul with its Add stays what it is."""
    text = "(float[n,8] x) => (float[n,5] y) { m = MatMul(x, w) y = Add(m, b) }"
    after = canonicalise("convert-gemm", graph(text, w=W, b=B), {"x": X})
    assert counts(after) == {"Add": 1, "MatMul": 1}
