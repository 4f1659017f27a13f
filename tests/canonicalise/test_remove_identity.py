"""Identity, Dropout and idle Casts disappear; names of outputs stay."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

X = np.random.default_rng(7).normal(size=(2, 7, 8)).astype(np.float32)


@pytest.mark.parametrize(
    "body",
    [
        "{ a = Identity(x) y = Neg(a) }",
        "{ a = Neg(x) y = Identity(a) }",
        "{ a = Identity(x) b = Identity(a) c = Neg(b) d = Identity(c) y = Identity(d) }",
        "{ a = Dropout(x) y = Neg(a) }",
        "{ a = Neg(x) y = Dropout(a, ratio) }",
        "{ a = Cast<to = 1>(x) y = Neg(a) }",
        "{ a = Neg(x) y = Cast<to = 1>(a) }",
    ],
    ids=["first", "output", "chain", "dropout", "dropout is output", "cast", "cast is output"],
)
def test_what_only_renames_disappears(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, body: str
) -> None:
    """One Neg is left, and the output has its name."""
    model = graph(f"(float[b,s,8] x) => (float[b,s,8] y) {body}", ratio=np.float32(0.1))
    assert counts(canonicalise("remove-identity", model, {"x": X})) == {"Neg": 1}


def test_a_renamed_weight_is_still_found(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """An Identity of an initializer, as torch writes shared weights, is read directly."""
    text = """(float[b,s,8] x) => (float[b,s,8] y)
        { v = Identity(w) a = MatMul(x, w) y = MatMul(a, v) }"""
    after = canonicalise("remove-identity", graph(text, w=np.eye(8, dtype=np.float32)), {"x": X})
    assert counts(after) == {"MatMul": 2}
    assert list(after.graph.initializers) == ["w"]


def test_a_cast_that_changes_the_type_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Rounding through another type is not idle."""
    text = "(float[b,s,8] x) => (float[b,s,8] y) { a = Cast<to = 7>(x) y = Cast<to = 1>(a) }"
    after = canonicalise("remove-identity", graph(text), {"x": X})
    assert counts(after) == {"Cast": 2}


def test_a_value_with_several_readers_is_renamed_for_all(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """What becomes the output is still read by its other readers."""
    text = """(float[b,s,8] x) => (float[b,s,8] y, float[b,s,8] z)
        { a = Neg(x) y = Identity(a) z = Exp(a) }"""
    after = canonicalise("remove-identity", graph(text), {"x": X})
    assert counts(after) == {"Exp": 1, "Neg": 1}


@pytest.mark.parametrize(
    "text",
    [
        "(float[b,s,8] x) => (float[b,s,8] y, float[b,s,8] z) { y = Neg(x) z = Identity(y) }",
        "(float[b,s,8] x) => (float[b,s,8] y, float[b,s,8] z) { y = Neg(x) z = Identity(x) }",
        pytest.param(
            "(float[b,s,8] x) => (float[b,s,8] y, bool[b,s,8] m) { d, m = Dropout(x) y = Neg(d) }",
        ),
    ],
    ids=["output twice", "input is output", "mask of a dropout"],
)
def test_what_cannot_be_removed_stays(graph: Parse, canonicalise: Canonicalise, text: str) -> None:
    """An Identity between two names that users see is no bug in the pass."""
    canonicalise("remove-identity", graph(text), {"x": X})
