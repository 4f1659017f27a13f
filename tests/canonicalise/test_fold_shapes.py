"""Shape arithmetic becomes constants, Slices, or nothing; what depends on content stays."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

RANDOM = np.random.default_rng(8)
TABLE = RANDOM.normal(size=(32, 8)).astype(np.float32)
NUMBERS: dict[str, Any] = {
    "table": TABLE,
    "kinds": TABLE[:2].copy(),
    "buffer": np.arange(32)[None],
    "vector": TABLE[5].copy(),
    "zero": np.array(0),
    "one": np.array(1),
    "two": np.array(2),
    "zero1": np.array([0]),
    "one1": np.array([1]),
    "minus1": np.array([-1]),
    "heads": np.array([2, 4]),
    "four1": np.array([4]),
    "eight1": np.array([8]),
    "last": np.array([-1]),
    "floor": np.float32(1e-9),
    "weight": RANDOM.normal(size=(8, 8)).astype(np.float32),
}
SHAPES = "b1 = Shape<start = 0, end = 1>(x) s1 = Shape<start = 1, end = 2>(x) "


def feed(batch: int = 2, sequence: int = 7, **more: Any) -> dict[str, Any]:
    """Return random states x [B, S, 8]."""
    random = np.random.default_rng(9)
    return {"x": random.normal(size=(batch, sequence, 8)).astype(np.float32), **more}


def ids(batch: int = 2, sequence: int = 7) -> dict[str, Any]:
    """Return token ids i [B, S] beside the states."""
    return feed(batch, sequence, i=np.random.default_rng(9).integers(0, 32, (batch, sequence)))


# ------------------------------------------------------------------ Reshape


@pytest.mark.parametrize(
    ("out", "arithmetic", "stated"),
    [
        ("b,s,2,4", "t = Concat<axis = 0>(b1, s1, heads) y = Reshape(x, t)", [0, 0, 2, 4]),
        (
            "b,s,2,4",
            (
                "sh = Shape(x) c = Gather(sh, zero) d = Gather(sh, one) c1 = Unsqueeze(c, zero1)"
                " d1 = Unsqueeze(d, zero1) t = Concat<axis = 0>(c1, d1, heads) y = Reshape(x, t)"
            ),
            [0, 0, 2, 4],
        ),
        ("b,s,2,4", "t = Concat<axis = 0>(b1, minus1, heads) y = Reshape(x, t)", [0, 0, 2, 4]),
        ("n,8", "n = Mul(b1, s1) t = Concat<axis = 0>(n, eight1) y = Reshape(x, t)", [-1, 8]),
        ("b,n", "n = Mul(s1, eight1) t = Concat<axis = 0>(b1, n) y = Reshape(x, t)", [0, -1]),
        (
            "b,s,2,4",
            "t = Concat<axis = 0>(b1, s1, heads) y = Reshape<allowzero = 1>(x, t)",
            [0, 0, 2, 4],
        ),
    ],
    ids=["slices", "gathers", "minus one", "flattened", "rows", "allowzero"],
)
def test_a_target_shape_is_stated(
    graph: Parse,
    canonicalise: Canonicalise,
    out: str,
    arithmetic: str,
    stated: list[int],
) -> None:
    """The sizes that vary are 0 (as in the input) or -1 (what is left); no Shape remains."""
    model = graph(f"(float[b,s,8] x) => (float[{out}] y) {{ {SHAPES} {arithmetic} }}", **NUMBERS)
    after = canonicalise("fold-shapes", model, feed())
    assert [node.op_type for node in after.graph] == ["Reshape"]
    (reshape,) = after.graph
    assert reshape.inputs[1].const_value.numpy().tolist() == stated


def test_a_stated_shape_holds_for_every_batch_and_length(
    graph: Parse, canonicalise: Canonicalise, equal: Callable[..., None]
) -> None:
    """What was seen at a few sizes is right at all others."""
    text = f"""(float[b,s,8] x) => (float[b,s,8] y) {{ {SHAPES}
        t = Concat<axis = 0>(b1, s1, heads) h = Reshape(x, t) p = Transpose<perm = [0,2,1,3]>(h)
        r = Transpose<perm = [0,2,1,3]>(p) u = Concat<axis = 0>(b1, s1, eight1)
        y = Reshape(r, u) }}"""
    before = graph(text, **NUMBERS)
    after = canonicalise("fold-shapes", before, feed())
    assert [n.op_type for n in after.graph] == ["Reshape", "Transpose", "Transpose", "Reshape"]

    @given(batch=st.integers(1, 5), sequence=st.integers(1, 32))
    def check(batch: int, sequence: int) -> None:
        equal(before, after, feed(batch, sequence))

    check()


def test_a_shape_with_two_unknowns_stays_computed(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Where two sizes vary and neither is the input's, one Reshape cannot state them."""
    text = f"""(float[b,s,8] x) => (float[s,b,8] y) {{ {SHAPES}
        t = Concat<axis = 0>(s1, b1, eight1) y = Reshape(x, t) }}"""
    before = graph(text, **NUMBERS)
    assert counts(canonicalise("fold-shapes", before, feed())) == counts(before)


# ------------------------------------------------------------------ constants


def test_what_is_the_same_at_every_size_is_a_constant(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """The width of the states is no variable, however it is found out."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        sh = Shape(x) w = Gather(sh, two) f = Cast<to = 1>(w) r = Sqrt(f) y = Div(x, r) }"""
    after = canonicalise("fold-shapes", graph(text, **NUMBERS), feed())
    assert counts(after) == {"Div": 1}


def test_content_that_happens_to_be_the_same_is_not_folded(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """X - x is 0 in every run, but that is no matter of shapes: NaN would not be."""
    text = (
        "(float[b,s,8] x) => (float[s,8] y) { d = Sub(x, x) y = ReduceSum<keepdims = 0>(d, zero1) }"
    )
    before = graph(text, **NUMBERS)
    assert counts(canonicalise("fold-shapes", before, feed())) == counts(before)


# ------------------------------------------------------------------ positions and types


WORDS = "w = Gather(table, i) "
POSITIONS = {
    "range": "n = Shape<start = 1, end = 2>(i) n0 = Squeeze(n) r = Range(zero, n0, one)"
    " p = Gather(table, r)",
    "expanded range": "sh = Shape(i) n = Gather(sh, one) r = Range(zero, n, one)"
    " r1 = Unsqueeze(r, zero1) e = Expand(r1, sh) p = Gather(table, e)",
    "buffer": "n = Shape<start = 1, end = 2>(i) r = Slice(buffer, zero1, n, one1)"
    " p = Gather(table, r)",
    "cumulated": "sh = Shape(i) c = ConstantOfShape<value = int64[1] {1}>(sh)"
    " k = CumSum(c, one) r = Sub(k, one) p = Gather(table, r)",
}


@pytest.mark.parametrize("form", POSITIONS.values(), ids=POSITIONS)
def test_positions_become_a_slice(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """Rows 0, 1, ... S - 1 of a table, looked up, are its first S rows."""
    text = f"(int64[b,s] i) => (float[b,s,8] y) {{ {WORDS} {form} y = Add(w, p) }}"
    after = canonicalise("fold-shapes", graph(text, **NUMBERS), {"i": ids()["i"]})
    assert counts(after) == {"Add": 1, "Gather": 1, "Shape": 1, "Slice": 1}


def test_positions_are_right_at_every_length(
    graph: Parse, canonicalise: Canonicalise, equal: Callable[..., None]
) -> None:
    """From one token up to the last row of the table."""
    text = f"(int64[b,s] i) => (float[b,s,8] y) {{ {WORDS} {POSITIONS['buffer']} y = Add(w, p) }}"
    before = graph(text, **NUMBERS)
    after = canonicalise("fold-shapes", before, {"i": ids()["i"]})

    @given(batch=st.integers(1, 4), sequence=st.integers(1, 32))
    def check(batch: int, sequence: int) -> None:
        equal(before, after, {"i": ids(batch, sequence)["i"]})

    check()


def test_token_types_that_are_always_0_become_their_row(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A table of which one row is ever read is that row."""
    text = f"""(int64[b,s] i) => (float[b,s,8] y) {{ {WORDS}
        sh = Shape(i) t = ConstantOfShape<value = int64[1] {{0}}>(sh) k = Gather(kinds, t)
        y = Add(w, k) }}"""
    after = canonicalise("fold-shapes", graph(text, **NUMBERS), {"i": ids()["i"]})
    assert counts(after) == {"Add": 1, "Gather": 1}


@pytest.mark.parametrize(
    "form",
    [
        (
            "n = Shape<start = 1, end = 2>(i) n0 = Squeeze(n) m = Add(n0, two)"
            " r = Range(two, m, one) p = Gather(table, r)"
        ),
        (
            "n = Shape<start = 1, end = 2>(i) n0 = Squeeze(n) m = Sub(n0, one)"
            " r = Range(m, minus0, minus0) p = Gather(table, r)"
        ),
        (
            "d = Sub(i, i) k = CumSum(d, one) n = Shape<start = 1, end = 2>(i) n0 = Squeeze(n)"
            " r = Range(zero, n0, one) q = Add(k, r) p = Gather(table, q)"
        ),
    ],
    ids=["from 2", "backwards", "by content"],
)
def test_other_positions_are_looked_up(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """Rows with an offset, in reverse order, or chosen by the tokens stay a Gather."""
    text = f"(int64[b,s] i) => (float[b,s,8] y) {{ {WORDS} {form} y = Add(w, p) }}"
    model = graph(text, minus0=np.array(-1), **NUMBERS)
    after = canonicalise("fold-shapes", model, {"i": ids()["i"]})
    assert counts(after)["Gather"] == 2


@pytest.mark.parametrize(
    "text",
    [
        "r = Expand(buffer7, sh) y = Gather(table, r)",
        (
            "n = Gather(sh, one) a = Range(zero, n, one) r = Expand(a, sh) p = Gather(table, r)"
            " y = Add(p, vector)"
        ),
        "t = ConstantOfShape<value = int64[1] {0}>(sh) k = Gather(kinds, t) y = Add(k, vector)",
        "t = ConstantOfShape<value = int64[1] {0}>(sh) y = Gather(kinds, t)",
    ],
    ids=["is the output", "positions alone", "types alone", "types are the output"],
)
def test_rows_for_a_whole_batch_keep_their_shape(
    graph: Parse, canonicalise: Canonicalise, text: str
) -> None:
    """Where nothing else brings the batch, [B, S, C] does not shrink to [S, C]."""
    model = graph(
        f"(int64[b,7] i) => (float[b,7,8] y) {{ sh = Shape(i) {text} }}",
        buffer7=np.arange(7),
        **NUMBERS,
    )
    canonicalise("fold-shapes", model, {"i": ids()["i"]})


# ------------------------------------------------------------------ Expand


MEAN_POOLING = """(float[b,s,8] x, int64[b,s] attention_mask) => (float[b,8] y){shapes} {{
    u = Unsqueeze(attention_mask, last) sh = Shape(x) e = Expand(u, sh) m = Cast<to = 1>(e)
    v = Mul(x, m) t = ReduceSum<keepdims = 0>(v, one1) n = ReduceSum<keepdims = 0>(m, one1)
    f = Clip(n, floor) y = Div(t, f) }}"""
MASK = np.array([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]])


@pytest.mark.parametrize(
    "shapes",
    [" <float[b,s,8] m>", ""],
    ids=["shapes in the file", "no shapes in the file"],
)
def test_the_mask_of_mean_pooling_is_not_expanded(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, shapes: str
) -> None:
    """Every reader broadcasts, also behind the Cast, the sum over tokens and the Clip."""
    model = graph(MEAN_POOLING.format(shapes=shapes), **NUMBERS)
    after = canonicalise("fold-shapes", model, feed(attention_mask=MASK))
    assert "Expand" not in counts(after)
    assert "Shape" not in counts(after)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
def test_an_expand_before_a_broadcast_is_dropped(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, op_type: str
) -> None:
    """An operator that broadcasts does itself what Expand did."""
    text = f"""(float[b,1,8] z, float[b,s,8] x) => (float[b,s,8] y)
        {{ sh = Shape(x) e = Expand(z, sh) y = {op_type}(x, e) }}"""
    more = np.random.default_rng(1).normal(size=(2, 1, 8)).astype(np.float32)
    after = canonicalise("fold-shapes", graph(text, **NUMBERS), feed(z=more))
    assert counts(after) == {op_type: 1}


def test_a_condition_is_not_expanded(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Where broadcasts its condition."""
    text = """(float[b,s,8] x, bool[b,1,1] m) => (float[b,s,8] y)
        { sh = Shape(x) e = Expand(m, sh) n = Neg(x) y = Where(e, x, n) }"""
    model = graph(text, **NUMBERS)
    after = canonicalise("fold-shapes", model, feed(m=np.array([[[True]], [[False]]])))
    assert counts(after) == {"Neg": 1, "Where": 1}


@pytest.mark.parametrize(
    "body",
    [
        "y = Expand(z, sh)",
        "e = Expand(z, sh) y = MatMul(e, weight)",
        "e = Expand(z, sh) y = Exp(e)",
        "e = Expand(z, sh) y = Add(e, vector)",
        "e = Expand(z, sh) y = Add(e, e)",
        "e = Expand(z, sh) f = Mul(x, e) g = Exp(e) y = Add(f, g)",
        "e = Expand(z, sh) c = Clip(e) y = Softmax<axis = 1>(c)",
    ],
    ids=["output", "matmul", "unary", "too small", "itself", "one of two", "behind a clip"],
)
def test_an_expand_that_nothing_restores_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, body: str
) -> None:
    """Where a reader would see fewer rows, or count them, Expand is needed."""
    text = f"(float[b,1,8] z, float[b,s,8] x) => (float[b,s,8] y) {{ sh = Shape(x) {body} }}"
    more = np.random.default_rng(1).normal(size=(2, 1, 8)).astype(np.float32)
    after = canonicalise("fold-shapes", graph(text, **NUMBERS), feed(z=more))
    assert counts(after)["Expand"] == 1


def test_a_sum_over_the_expanded_axis_counts_it(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Reducing the very axis that Expand made long is not the same without it."""
    text = """(float[b,1,8] z, float[b,s,8] x) => (float[b,s,8] y) {
        sh = Shape(x) e = Expand(z, sh) t = ReduceSum<keepdims = 1>(e, one1) y = Mul(x, t) }"""
    more = np.ones((2, 1, 8), np.float32)
    after = canonicalise("fold-shapes", graph(text, **NUMBERS), feed(z=more))
    assert counts(after)["Expand"] == 1


def test_of_two_expands_that_restore_each_other_one_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Each is needless only as long as the other is there."""
    text = """(float[b,1,s] x, float[b,1,s] z) => (float[b,4,s] y) {
        b = Shape<start = 0, end = 1>(x) s = Shape<start = 2, end = 3>(x)
        sh = Concat<axis = 0>(b, four1, s) e = Expand(x, sh) f = Expand(z, sh)
        g = Clip(e, floor) h = Clip(f, floor) y = Add(g, h) }"""
    arrays = {name: RANDOM.normal(size=(2, 1, 7)).astype(np.float32) for name in "xz"}
    after = canonicalise("fold-shapes", graph(text, **NUMBERS), arrays)
    assert counts(after)["Expand"] == 1
