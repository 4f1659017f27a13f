"""What depends on no input is computed once, here."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

X = np.random.default_rng(4).normal(size=(2, 7, 8)).astype(np.float32)
W = np.random.default_rng(5).normal(size=(8, 8)).astype(np.float32)


def test_a_transposed_weight_becomes_a_weight(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """MatMul reads an initializer afterwards."""
    text = (
        "(float[b,s,8] x) => (float[b,s,8] y) { t = Transpose<perm = [1,0]>(w) y = MatMul(x, t) }"
    )
    after = canonicalise("fold-constants", graph(text, w=W), {"x": X})
    assert counts(after) == {"MatMul": 1}
    (array,) = (v.const_value.numpy() for v in after.graph.initializers.values())
    np.testing.assert_array_equal(array, W.T)


def test_a_chain_folds_to_its_end(graph: Parse, canonicalise: Canonicalise, counts: Counts) -> None:
    """A constant made of constants made of constants is one initializer."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        shape = Shape(w) rows = Gather(shape, zero) float_rows = Cast<to = 1>(rows)
        root = Sqrt(float_rows) y = Div(x, root) }"""
    after = canonicalise("fold-constants", graph(text, w=W, zero=np.array(0)), {"x": X})
    assert counts(after) == {"Div": 1}
    assert len(after.graph.initializers) == 1


def test_every_output_of_a_node_is_folded(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A Split of a packed weight gives three weights."""
    text = """(float[b,s,8] x) => (float[b,s,2] y) {
        a, b, c, d = Split<axis = 1, num_outputs = 4>(w) m = MatMul(x, a) n = MatMul(x, d)
        y = Sub(m, n) }"""
    after = canonicalise("fold-constants", graph(text, w=W), {"x": X})
    assert counts(after) == {"MatMul": 2, "Sub": 1}


def test_a_constant_output_keeps_its_name(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A graph output that depends on no input is an initializer of that name."""
    text = "(float[b,s,8] x) => (float[b,s,8] y, float[8,8] c) { y = Neg(x) c = Neg(w) }"
    after = canonicalise("fold-constants", graph(text, w=W), {"x": X})
    assert counts(after) == {"Neg": 1}
    assert list(after.graph.initializers) == ["c"]


@pytest.mark.parametrize(
    "body",
    [
        "{ y = Add(x, w) }",
        "{ s = Shape(x) e = Expand(one, s) y = Mul(x, e) }",
        "{ y = com.microsoft.FusedMatMul(x, w) }",
    ],
    ids=["reads an input", "reads a shape", "of another domain"],
)
def test_the_rest_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, body: str
) -> None:
    """What an input or its shape decides is not constant."""
    arrays = {"w": W, "one": np.ones(1, np.float32)}
    before = graph(f"(float[b,8,8] x) => (float[b,8,8] y) {body}", **arrays)
    feed = {"x": np.ones((2, 8, 8), np.float32)}
    assert counts(canonicalise("fold-constants", before, feed)) == counts(before)


def test_constants_of_other_domains_stay(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """The reference of onnx does not know onnxruntime's own operators: they are left to it."""
    text = """(float[b,s,8] x) => (float[b,s,8] y)
        { c = com.microsoft.Gelu(w) y = MatMul(x, c) }"""
    after = canonicalise("fold-constants", graph(text, w=W), {"x": X})
    assert counts(after) == {"MatMul": 1, "com.microsoft.Gelu": 1}


IF = """(float[b,s,8] x) => (float[b,s,8] y) { y = If(c) <
    then_branch = yes () => (float[b,s,8] u) { n = Neg(w) u = Add(x, n) },
    else_branch = no () => (float[b,s,8] v) { v = Exp(x) }> }"""


@pytest.mark.parametrize(("condition", "left"), [(1, {"Add": 1}), (0, {"Exp": 1})])
def test_a_constant_condition_chooses_its_branch(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, condition: int, left: dict[str, int]
) -> None:
    """The branch takes the place of the If, and what is constant in it is folded."""
    model = graph(IF, c=np.array(condition, bool), w=W[0])
    after = canonicalise("fold-constants", model, {"x": X})
    assert counts(after) == left


def test_a_computed_condition_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Which branch is taken may depend on the input."""
    text = IF.replace(
        "{ y = If(c)", "{ m = ReduceMax<keepdims = 0>(x) c = Greater(m, zero) y = If(c)"
    )
    model = graph(text, w=W[0], zero=np.float32(0))
    after = canonicalise("fold-constants", model, {"x": X})
    assert counts(after) == {"Greater": 1, "If": 1, "ReduceMax": 1}
