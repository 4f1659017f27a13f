"""The same thing is computed once."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

X = np.random.default_rng(6).normal(size=(2, 7, 8)).astype(np.float32)


def test_equal_nodes_become_one(graph: Parse, canonicalise: Canonicalise, counts: Counts) -> None:
    """Operators of the same inputs and attributes are shared, and so are those that read them."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        a = Neg(x) b = Neg(x) c = Exp(a) d = Exp(b) y = Add(c, d) }"""
    after = canonicalise("merge-duplicates", graph(text), {"x": X})
    assert counts(after) == {"Add": 1, "Exp": 1, "Neg": 1}


def test_equal_initializers_become_one(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Two small constants of the same bytes are one, and then their readers are."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        a = Mul(x, p) b = Mul(x, q) y = Add(a, b) }"""
    two = np.full(8, 2, np.float32)
    after = canonicalise("merge-duplicates", graph(text, p=two, q=two.copy()), {"x": X})
    assert counts(after) == {"Add": 1, "Mul": 1}
    assert len(after.graph.initializers) == 1


def test_unlike_things_stay_apart(graph: Parse, canonicalise: Canonicalise, counts: Counts) -> None:
    """Another attribute, another order, another type or another shape is another value."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        a = Softmax<axis = -1>(x) b = Softmax<axis = 1>(x) c = Sub(a, b) d = Sub(b, a)
        e = Mul(c, p) f = Mul(d, q) g = Mul(e, r) y = Add(f, g) }"""
    two = np.full(8, 2, np.float32)
    arrays = {"p": two, "q": two[:1].copy(), "r": two + 1}
    before = graph(text, **arrays)
    after = canonicalise("merge-duplicates", before, {"x": X})
    assert counts(after) == counts(before)
    assert len(after.graph.initializers) == 3


def test_two_outputs_keep_their_names(graph: Parse, canonicalise: Canonicalise) -> None:
    """Outputs that are equal are both still there."""
    text = """(float[b,s,8] x) => (float[b,s,8] y, float[b,s,8] z) { y = Neg(x) z = Neg(x) }"""
    after = canonicalise("merge-duplicates", graph(text), {"x": X})
    assert [value.name for value in after.graph.outputs] == ["y", "z"]


def test_random_numbers_are_not_merged(graph: Parse, counts: Counts, rewrite: Canonicalise) -> None:
    """Two draws are two values, though the operators are alike."""
    text = """(float[2,3] x) => (float[2,3] y) {
        a = RandomNormalLike(x) b = RandomNormalLike(x) y = Sub(a, b) }"""
    before = graph(text)
    assert counts(rewrite("canonicalise", before, "merge-duplicates")) == counts(before)
