"""Attention in the ways that exporters write it, and what only looks like it."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.errors import UnsupportedError
from edgecompile.export import native
from edgecompile.export.checkpoint import read_config
from edgecompile.probe import take_probe

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

WIDTH, HEADS = 8, 2
RANDOM = np.random.default_rng(10)


def normal(*shape: int) -> np.ndarray[Any, Any]:
    """Return random float32 weights."""
    return RANDOM.normal(size=shape).astype(np.float32)


PARTS = ("q", "k", "v")
NUMBERS: dict[str, Any] = {
    **{f"w{p}": normal(WIDTH, WIDTH) for p in (*PARTS, "o")},
    **{f"b{p}": normal(WIDTH) for p in (*PARTS, "o")},
    "heads": np.array([0, 0, HEADS, WIDTH // HEADS]),
    "heads3": np.array([0, 0, 3, HEADS, WIDTH // HEADS]),
    "folded": np.array([-1, 7, WIDTH // HEADS]),
    "unfolded": np.array([-1, HEADS, 7, WIDTH // HEADS]),
    "four": np.array([-1, HEADS, 7, 7]),
    "joined": np.array([0, 0, WIDTH]),
    "rows": np.array([1, 2]),
    "zero": np.array(0),
    "one": np.array(1),
    "two": np.array(2),
    "zero_1d": np.array([0]),
    "factor": np.float32(1 / math.sqrt(WIDTH / HEADS)),
    "divisor": np.float32(math.sqrt(WIDTH / HEADS)),
    "root": np.float32((WIDTH / HEADS) ** -0.25),
    "other": np.float32(0.3),
    "f1": np.float32(1),
    "large": np.float32(-10000),
    "lowest": np.float32(np.finfo(np.float32).min),
    "infinity": np.float32(-np.inf),
    "triangle": np.where(np.tril(np.ones((1, 1, 16, 16))), 0, -np.inf).astype(np.float32),
}
NUMBERS["wqkv"] = np.concatenate([NUMBERS[f"w{p}"] for p in PARTS], axis=1)
NUMBERS["bqkv"] = np.concatenate([NUMBERS[f"b{p}"] for p in PARTS])

LINEARS = " ".join(f"m{p} = MatMul(x, w{p}) {p} = Add(m{p}, b{p})" for p in PARTS) + " "
SPLIT = " ".join(
    f"h{p} = Reshape({p}, heads) {p}4 = Transpose<perm = [0,{perm}]>(h{p})"
    for p, perm in zip(PARTS, ("2,1,3", "2,3,1", "2,1,3"), strict=True)
)
SCORES = " s = MatMul(q4, k4) scores = Mul(s, factor) "
SOFTMAX = " p = Softmax<axis = -1>({0}) "
MIXED = " z4 = MatMul(p, v4) z3 = Transpose<perm = [0,2,1,3]>(z4) z = Reshape(z3, joined) "
END = " mo = MatMul(z, wo) y = Add(mo, bo)"

SCALES = {
    "mul": SCORES,
    "mul on the left": " s = MatMul(q4, k4) scores = Mul(factor, s) ",
    "div": " s = MatMul(q4, k4) scores = Div(s, divisor) ",
    "on q": " qs = Mul(q4, factor) scores = MatMul(qs, k4) ",
    "on q, divided": " qs = Div(q4, divisor) scores = MatMul(qs, k4) ",
    "split on q and k": " qs = Mul(q4, root) ks = Mul(k4, root) scores = MatMul(qs, ks) ",
    "on q before the heads": " scores = MatMul(q4, k4) ",
    "none": " scores = MatMul(q4, k4) ",
}
INVERTED = " f = Cast<to = 1>(attention_mask) i = Sub(f1, f) u = Unsqueeze(i, rows) "
BOOLEAN = " c = Cast<to = 9>(attention_mask) u = Unsqueeze(c, rows) "
MASKS = {
    "add -10000": INVERTED + " a = Mul(u, large) masked = Add(scores, a) ",
    "add the lowest": INVERTED + " a = Mul(u, lowest) masked = Add(scores, a) ",
    "add on the left": INVERTED + " a = Mul(u, large) masked = Add(a, scores) ",
    "where valid": BOOLEAN + " masked = Where(u, scores, infinity) ",
    "where padded": BOOLEAN + " n = Not(u) masked = Where(n, infinity, scores) ",
    "where padded, lowest": BOOLEAN + " n = Not(u) masked = Where(n, lowest, scores) ",
    "filled": INVERTED + " t = Cast<to = 9>(u) a = Where(t, infinity, zerof)"
    " masked = Add(scores, a) ",
    "expanded": BOOLEAN + " sh = Shape(scores) e = Expand(u, sh)"
    " masked = Where(e, scores, lowest) ",
    "without NaN": BOOLEAN + " masked = Where(u, scores, infinity) ",
}


def body(
    scores: str = SCORES, mask: str = "", *, linears: str = LINEARS + SPLIT, mixed: str = MIXED
) -> str:
    """Write one attention layer with its output Linear."""
    weights = SOFTMAX.format("masked" if mask else "scores")
    inputs = "float[b,s,8] x, int64[b,s] attention_mask" if mask else "float[b,s,8] x"
    return f"({inputs}) => (float[b,s,8] y) {{ {linears}{scores}{mask}{weights}{mixed}{END} }}"


def feed(batch: int = 2, sequence: int = 7, *, mask: bool = False) -> dict[str, Any]:
    """Return random states, and a mask that leaves the first token valid."""
    random = np.random.default_rng(11)
    found = {"x": random.normal(size=(batch, sequence, WIDTH)).astype(np.float32)}
    if mask:
        found["attention_mask"] = random.integers(0, 2, (batch, sequence))
        found["attention_mask"][:, 0] = 1
    return found


def the_attention(model: ir.Model) -> ir.Node:
    """Return the one Attention of a graph."""
    (node,) = (node for node in model.graph if node.op_type == "Attention")
    return node


# ------------------------------------------------------------------ forms


@pytest.mark.parametrize("form", SCALES)
def test_every_way_to_scale_becomes_attention(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """By a product, a quotient, on q, on both, or not at all: the operator states the scale."""
    linears = LINEARS + SPLIT
    if form == "on q before the heads":
        linears = linears.replace("Reshape(q,", "Reshape(qs,").replace(
            "mk =", "qs = Mul(q, factor) mk ="
        )
    model = graph(body(SCALES[form], linears=linears), **NUMBERS)
    after = canonicalise("fuse-attention", model, feed())
    assert counts(after) == {"Add": 4, "Attention": 1, "MatMul": 4}
    node = the_attention(after)
    assert node.attributes["scale"].as_float() == pytest.approx(1 if form == "none" else 0.5)
    assert node.attributes["q_num_heads"].as_int() == HEADS
    assert node.attributes["kv_num_heads"].as_int() == HEADS


@pytest.mark.parametrize("form", MASKS.values(), ids=MASKS)
def test_every_padding_mask_becomes_the_same_bias(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """Added or chosen by Where, -10000, the lowest number or -inf: one padding bias comes out."""
    model = graph(body(mask=form), zerof=np.float32(0), **NUMBERS)
    after = canonicalise("fuse-attention", model, feed(mask=True))
    found = counts(after)
    assert {op: found.get(op, 0) for op in ("Attention", "MatMul", "Softmax", "Where")} == {
        "Attention": 1, "MatMul": 4, "Softmax": 0, "Where": 0,
    }  # fmt: skip
    bias = the_attention(after).inputs[3]
    assert bias.producer().op_type == "Unsqueeze"
    assert found["Unsqueeze"] == 1


def test_a_boolean_mask_input_becomes_the_padding_bias(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A mask that comes in as bool is cast like one of integers."""
    mask = " u = Unsqueeze(attention_mask, rows) masked = Where(u, scores, infinity) "
    text = body(mask=mask).replace("int64[b,s] attention_mask", "bool[b,s] attention_mask")
    states = feed(mask=True)
    states["attention_mask"] = states["attention_mask"] == 1
    after = canonicalise("fuse-attention", graph(text, **NUMBERS), states)
    assert counts(after)["Attention"] == 1
    assert "Where" not in counts(after)


PACKED = {
    "split": "m = MatMul(x, wqkv) a = Add(m, bqkv) q, k, v = Split<axis = 2, num_outputs = 3>(a) "
    + SPLIT,
    "no bias": "m = MatMul(x, wqkv) q, k, v = Split<axis = 2, num_outputs = 3>(m) " + SPLIT,
    "five axes": "m = MatMul(x, wqkv) a = Add(m, bqkv) r = Reshape(a, heads3)"
    " t = Transpose<perm = [2,0,3,1,4]>(r) q4 = Gather<axis = 0>(t, zero)"
    " k5 = Gather<axis = 0>(t, one) v4 = Gather<axis = 0>(t, two)"
    " k4 = Transpose<perm = [0,1,3,2]>(k5)",
}


@pytest.mark.parametrize("form", PACKED.values(), ids=PACKED)
def test_a_packed_projection_is_split_into_three(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """One Linear [in, 3E] is cut into q, k and v, whichever way the graph took it apart."""
    after = canonicalise("fuse-attention", graph(body(linears=form), **NUMBERS), feed())
    biases = 1 if "bqkv" not in form else 4
    assert counts(after) == {"Add": biases, "Attention": 1, "MatMul": 4}
    arrays = [value.producer() for value in the_attention(after).inputs]
    linears = [n if n.op_type == "MatMul" else n.inputs[0].producer() for n in arrays]
    for part, linear in zip(PARTS, linears, strict=True):
        weight = linear.inputs[1].const_value.numpy()
        np.testing.assert_array_equal(weight, NUMBERS[f"w{part}"])


def test_an_operator_over_heads_becomes_one_over_states(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Attention of [B, heads, S, d] tensors, as torch's dynamo exporter writes it."""
    heads = " ".join(
        f"h{p} = Reshape({p}, heads) {p}4 = Transpose<perm = [0,2,1,3]>(h{p})" for p in PARTS
    )
    text = f"""(float[b,s,8] x) => (float[b,s,8] y) {{ {LINEARS} {heads}
        z4 = Attention(q4, k4, v4)
        z3 = Transpose<perm = [0,2,1,3]>(z4) z = Reshape(z3, joined) {END} }}"""
    after = canonicalise("fuse-attention", graph(text, **NUMBERS), feed())
    assert counts(after) == {"Add": 4, "Attention": 1, "MatMul": 4}
    assert the_attention(after).attributes["q_num_heads"].as_int() == HEADS


OPERATOR = (
    f"(float[b,s,8] x) => (float[b,s,8] y) {{ {LINEARS} y = Attention<attributes>(q, k, v) }}"
)


def test_an_operator_over_states_states_its_scale(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """The default scale of the standard operator is written out: 1 / sqrt(d)."""
    model = graph(OPERATOR.replace("attributes", "q_num_heads = 2, kv_num_heads = 2"), **NUMBERS)
    after = canonicalise("fuse-attention", model, feed())
    assert counts(after) == {"Add": 3, "Attention": 1, "MatMul": 3}
    assert the_attention(after).attributes["scale"].as_float() == pytest.approx(0.5)


@pytest.mark.parametrize(
    "attributes",
    ["q_num_heads = 2, kv_num_heads = 2, is_causal = 1",
     "q_num_heads = 2, kv_num_heads = 2, softcap = 3.0"],
)  # fmt: skip
def test_an_operator_in_another_form_is_refused(
    graph: Parse, rewrite: Canonicalise, attributes: str
) -> None:
    """What the canonical Attention cannot say is not dropped: the message says what to do."""
    model = graph(OPERATOR.replace("attributes", attributes), **NUMBERS)
    with pytest.raises(UnsupportedError) as error:
        rewrite("canonicalise", model, "fuse-attention", probe=take_probe(model))
    assert str(error.value) == (
        "node 'y': an Attention in a form that is not known here (key-value cache, causal, rotary"
        " or grouped heads); export it again with opset 20, which writes it out"
    )


def test_batch_and_heads_may_be_one_axis(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """The form of BART: [B heads, S, d] tensors, and a mask between two Reshapes."""
    folds = " ".join(f"{p}f = Reshape({p}h, folded)" for p in PARTS)
    heads = " ".join(
        f"r{p} = Reshape({p}, heads) {p}h = Transpose<perm = [0,2,1,3]>(r{p})" for p in PARTS
    )
    text = f"""(float[b,7,8] x) => (float[b,7,8] y) {{ {LINEARS} {heads} {folds}
        qs = Mul(qf, factor) kt = Transpose<perm = [0,2,1]>(kf) s = MatMul(qs, kt)
        p = Softmax<axis = -1>(s) zf = MatMul(p, vf) z4 = Reshape(zf, unfolded)
        z3 = Transpose<perm = [0,2,1,3]>(z4) z = Reshape(z3, joined) {END} }}"""
    after = canonicalise("fuse-attention", graph(text, **NUMBERS), feed())
    assert counts(after) == {"Add": 4, "Attention": 1, "MatMul": 4}


def test_a_bias_that_is_an_input_is_added(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """What the user adds to the scores [B, heads, S, S] is the Attention's bias."""
    text = body().replace("float[b,s,8] x", "float[b,s,8] x, float[b,2,s,s] extra")
    text = text.replace("p = Softmax<axis = -1>(scores)", "a = Add(scores, extra) p = Softmax(a)")
    extra = normal(2, HEADS, 7, 7)
    after = canonicalise("fuse-attention", graph(text, **NUMBERS), feed() | {"extra": extra})
    assert counts(after)["Attention"] == 1
    assert the_attention(after).inputs[3].name == "extra"


def test_a_causal_mask_is_kept_as_it_is(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A decoder's triangle is not mistaken for padding."""
    cut = """ n = Shape<start = 1, end = 2>(x) ends = Concat<axis = 0>(n, n)
        t = Slice(triangle, zeros, ends, axes) masked = Add(scores, t) """
    text = body(mask=cut).replace(", int64[b,s] attention_mask", "")
    more = {"zeros": np.array([0, 0]), "axes": np.array([2, 3])}
    after = canonicalise("fuse-attention", graph(text, **more, **NUMBERS), feed())
    assert "Softmax" in counts(after) or len(the_attention(after).inputs) == 4


def test_two_layers_share_one_padding_bias(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """The mask is turned into a bias once for the whole graph."""
    first = body(mask=MASKS["add -10000"]).partition("{")[2].rstrip(" }")
    made = "|".join(re.findall(r"(\w+) = (?=[A-Z])", first))
    second = re.sub(rf"\b({made})\b", r"\g<1>_2", first)
    second = re.sub(r"\bx\b", "y", second)
    inputs = "(float[b,s,8] x, int64[b,s] attention_mask) => (float[b,s,8] y_2)"
    model = graph(f"{inputs} {{ {first} {second} }}", **NUMBERS)
    after = canonicalise("fuse-attention", model, feed(mask=True))
    found = counts(after)
    assert (found["Attention"], found["Unsqueeze"], found.get("Softmax", 0)) == (2, 1, 0)
    biases = {node.inputs[3] for node in after.graph if node.op_type == "Attention"}
    assert len(biases) == 1


def test_it_holds_for_every_batch_and_length(
    graph: Parse, canonicalise: Canonicalise, equal: Callable[..., None]
) -> None:
    """What was seen at a few sizes is right at all others, with padding."""
    before = graph(body(mask=MASKS["where valid"]), **NUMBERS)
    after = canonicalise("fuse-attention", before, feed(mask=True))

    @given(batch=st.integers(1, 4), sequence=st.integers(1, 24))
    def check(batch: int, sequence: int) -> None:
        equal(before, after, feed(batch, sequence, mask=True))

    check()


@pytest.mark.parametrize("family", native.families())
def test_every_layer_of_an_encoder_is_found(
    checkpoint: Callable[..., Path],
    rewrite: Callable[..., ir.Model],
    equal: Callable[..., None],
    counts: Counts,
    family: str,
) -> None:
    """A native graph that was written in plain operators comes back as it was."""
    folder = checkpoint(family)
    model = native.export(folder, read_config(folder))
    plain = rewrite("lower/exchange", model, "expand-attention")
    after = rewrite("canonicalise", plain, probe=take_probe(plain))
    wanted = ("Attention", "Gather", "Gelu", "LayerNormalization", "MatMul", "Slice", "Softmax")
    assert [counts(after).get(op, 0) for op in wanted] == [
        counts(model).get(op, 0) for op in wanted
    ]
    mask = np.array([[1] * 9, [1] * 4 + [0] * 5])
    tokens = np.random.default_rng(0).integers(5, 100, mask.shape)
    inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": mask}
    equal(model, after, {str(v.name): inputs[str(v.name)] for v in model.graph.inputs})


# ------------------------------------------------------------------ near misses


OTHERS = {
    "softmax over queries": body().replace("axis = -1>(scores)", "axis = -2>(scores)"),
    "values through an activation": body(mixed=MIXED.replace("(p, v4)", "(p, r4)")).replace(
        "p = Softmax", "r4 = Relu(v4) p = Softmax"
    ),
    "queries through an activation": body(" r4 = Relu(q4) s = MatMul(r4, k4)"
                                          " scores = Mul(s, factor) "),
    "weights through an activation": body(mixed=MIXED.replace("(p, v4)", "(r, v4)")).replace(
        "z4 =", "r = Sqrt(p) z4 ="
    ),
    "heads not put back": body(mixed=MIXED.replace("perm = [0,2,1,3]", "perm = [0,2,3,1]")),
}  # fmt: skip


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_what_only_looks_like_attention_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, text: str
) -> None:
    """A graph of the same operators that computes something else is left alone."""
    before = graph(text, **NUMBERS)
    assert counts(canonicalise("fuse-attention", before, feed())) == counts(before)


@pytest.mark.parametrize("size", [1.0, 0.02])
def test_another_scale_is_still_right(
    graph: Parse, canonicalise: Canonicalise, size: float
) -> None:
    """A scale that is neither 1 nor 1 / sqrt(d) is kept, also where weights are small."""
    arrays = {n: a * np.float32(size) if n[0] in "wb" else a for n, a in NUMBERS.items()}
    text = body(" s = MatMul(q4, k4) scores = Mul(s, other) ")
    after = canonicalise("fuse-attention", graph(text, **arrays), feed())
    scales = [n.attributes["scale"].as_float() for n in after.graph if n.op_type == "Attention"]
    assert scales in ([], [pytest.approx(0.3)])


def test_a_mask_of_other_tokens_is_not_padding(graph: Parse, canonicalise: Canonicalise) -> None:
    """What hides other tokens than attention_mask does is not replaced by the padding bias."""
    mask = """ s1 = Shape(attention_mask) all = ConstantOfShape<value = int64[1] {1}>(s1)
        first = Sub(all, attention_mask) c = Cast<to = 9>(first) u = Unsqueeze(c, rows)
        masked = Where(u, scores, large) """
    canonicalise("fuse-attention", graph(body(mask=mask), **NUMBERS), feed(mask=True))


def test_a_window_is_not_lost(
    graph: Parse, canonicalise: Canonicalise, equal: Callable[..., None]
) -> None:
    """A mask that hides tokens more than 12 away shows on no short input: it is kept."""
    mask = """ n = Shape<start = 1, end = 2>(x) n0 = Squeeze(n) r = Range(zero, n0, one)
        rq = Unsqueeze(r, one1) rk = Unsqueeze(r, zero_1d) d = Sub(rq, rk) a = Abs(d)
        far = Greater(a, twelve) masked = Where(far, infinity, scores) """
    text = body(mask=mask).replace(", int64[b,s] attention_mask", "")
    before = graph(text, one1=np.array([1]), twelve=np.array(12), **NUMBERS)
    after = canonicalise("fuse-attention", before, feed())
    equal(before, after, feed(sequence=30))


def test_keys_and_queries_are_not_confused(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Where the graph multiplies k by q, the operator is given them that way round."""
    text = (
        body().replace("MatMul(x, wq)", "MatMul(x, w_)").replace("MatMul(x, wk)", "MatMul(x, wq)")
    )
    text = text.replace("MatMul(x, w_)", "MatMul(x, wk)")
    after = canonicalise("fuse-attention", graph(text, **NUMBERS), feed())
    assert counts(after)["Attention"] == 1


def test_weights_that_are_an_output_stay(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A model that shows its attention weights still computes them."""
    text = body().replace("(float[b,s,8] y)", "(float[b,s,8] y, float[b,2,s,s] p)")
    after = canonicalise("fuse-attention", graph(text, **NUMBERS), feed())
    assert counts(after)["Softmax"] == 1


def test_a_softmax_alone_is_no_attention(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A classifier's softmax is left alone."""
    text = """(float[b,s,8] x) => (float[b,s,8] y)
        { m = MatMul(x, wq) a = Add(m, bq) y = Softmax<axis = -1>(a) }"""
    before = graph(text, **NUMBERS)
    assert counts(canonicalise("fuse-attention", before, feed())) == counts(before)
