"""Attention in the two forms that onnxruntime runs, with every kind of bias."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.attention import attend
from edgecompile.plan import FLOAT
from edgecompile.target import REFERENCE, Forms

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[Array]]
Counts = Callable[[ir.Model], dict[str, int]]

WIDTH, HEADS, SCALE = 8, 2, 0.4
RANDOM = np.random.default_rng(16)
NUMBERS: dict[str, Any] = {
    **{f"w{p}": RANDOM.normal(size=(WIDTH, WIDTH)).astype(np.float32) / 2 for p in "qkv"},
    **{f"b{p}": RANDOM.normal(size=WIDTH).astype(np.float32) for p in "qkv"},
    "f1": np.float32(1),
    "large": np.float32(-10000),
    "rows": np.array([1, 2]),
    "last": np.array([-1]),
}
FORMS = ("operator", "packed")

BIASES = {
    "none": ("", "", ""),
    "padding": (
        ", int64[b,s] mask",
        "f = Cast<to = 1>(mask) i = Sub(f1, f) l = Mul(i, large) bias = Unsqueeze(l, rows)",
        ", bias",
    ),
    "a row a query": (", float[b,1,s,s] extra", "bias = Neg(extra)", ", bias"),
    "a row a query and head": (", float[b,2,s,s] extra", "bias = Neg(extra)", ", bias"),
    "a head apart": (", float[b,2,1,s] extra", "bias = Neg(extra)", ", bias"),
    "for all sequences": (", float[1,1,s,s] extra", "bias = Neg(extra)", ", bias"),
    "an input": (", float[b,2,s,s] extra", "", ", extra"),
}
OPERATOR = f"Attention<q_num_heads = {HEADS}, kv_num_heads = {HEADS}, scale = {SCALE}>"


def body(bias: str = "none", linears: str | None = None, *, outputs: str = "") -> str:
    """Write an attention over three Linears of x."""
    inputs, made, read = BIASES[bias]
    if linears is None:
        linears = " ".join(f"m{p} = MatMul(x, w{p}) {p} = Add(m{p}, b{p})" for p in "qkv")
    return f"""(float[b,s,8] x{inputs}) => (float[b,s,8] y{outputs})
        {{ {linears} {made} y = {OPERATOR}(q, k, v{read}) }}"""


@pytest.fixture(scope="session")
def expand(rewrite: Rewrite) -> Callable[[ir.Model, str], ir.Model]:
    """Return a function that writes attention in one of the forms."""

    def apply(model: ir.Model, form: str) -> ir.Model:
        target = dataclasses.replace(REFERENCE, forms=Forms(attention=form))
        names = ("apply-equalisation", "expand-attention")
        return rewrite("lower/onnxruntime", model, *names, plan=FLOAT, target=target)

    return apply


def feed(bias: str, batch: int = 2, sequence: int = 7, seed: int = 0) -> dict[str, Array]:
    """Return states, and a mask or an addend for the scores."""
    random = np.random.default_rng(seed)
    found = {"x": random.normal(size=(batch, sequence, WIDTH)).astype(np.float32)}
    if bias == "padding":
        found["mask"] = random.integers(0, 2, (batch, sequence))
        found["mask"][:, 0] = 1
    elif bias != "none":
        dims = BIASES[bias][0].partition("[")[2].partition("]")[0].split(",")
        sizes = {"b": batch, "s": sequence, "1": 1, "2": 2}
        shape = tuple(sizes[d] for d in dims)
        found["extra"] = random.normal(size=shape).astype(np.float32)
    return found


def numpys(bias: str, inputs: dict[str, Array], names: str = "qkv") -> Array:
    """Compute the attention query by query in float64."""
    x = inputs["x"].astype(np.float64)
    q, k, v = (x @ NUMBERS[f"w{p}"] + NUMBERS[f"b{p}"] for p in names)
    batch, length, _ = x.shape
    added = np.zeros((batch, HEADS, length, length))
    if "mask" in inputs:
        added = added + np.where(inputs["mask"] == 1, 0, -np.inf)[:, None, None, :]
    if "extra" in inputs:
        added = added + (1 if bias == "an input" else -1) * inputs["extra"]
    y = np.zeros_like(q)
    size = WIDTH // HEADS
    for b, head, s in np.ndindex(batch, HEADS, length):
        part = slice(head * size, (head + 1) * size)
        scores = SCALE * k[b, :, part] @ q[b, s, part] + added[b, head, s]
        p = np.exp(scores - scores.max())
        y[b, s, part] = p / p.sum() @ v[b, :, part]
    return y


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("form", FORMS)
def test_both_forms_compute_attention(
    graph: Parse, expand: Rewrite, run: Run, form: str, bias: str
) -> None:
    """With each kind of bias, for a batch, numpy's attention comes out."""
    inputs = feed(bias)
    (y,) = run(expand(graph(body(bias), **NUMBERS), form), inputs)
    np.testing.assert_allclose(y, numpys(bias, inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_a_bias_of_one_row_may_be_an_input(
    graph: Parse, expand: Rewrite, run: Run, form: str
) -> None:
    """A padding bias [B, 1, 1, S] that the user computes has a row for each query afterwards."""
    text = body("an input").replace("float[b,2,s,s] extra", "float[b,1,1,s] extra")
    inputs = feed("none") | {"extra": RANDOM.normal(size=(2, 1, 1, 7)).astype(np.float32)}
    (y,) = run(expand(graph(text, **NUMBERS), form), inputs)
    np.testing.assert_allclose(y, numpys("an input", inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_any_batch_and_length(graph: Parse, expand: Rewrite, run: Run, form: str) -> None:
    """Batch and sequence stay dynamic."""
    model = expand(graph(body("padding"), **NUMBERS), form)

    @given(batch=st.integers(1, 4), sequence=st.integers(1, 20), seed=st.integers(0, 99))
    def check(batch: int, sequence: int, seed: int) -> None:
        inputs = feed("padding", batch, sequence, seed)
        np.testing.assert_allclose(
            run(model, inputs)[0], numpys("padding", inputs), rtol=0, atol=1e-5
        )

    check()


def test_the_operator_splits_one_projection(graph: Parse, expand: Rewrite, counts: Counts) -> None:
    """Three Linears of one tensor become one, in front of the standard operator."""
    after = expand(graph(body(), **NUMBERS), "operator")
    assert counts(after) == {"Add": 1, "Attention": 1, "MatMul": 1, "Split": 1}
    (matmul,) = (node for node in after.graph if node.op_type == "MatMul")
    weight = matmul.inputs[1].const_value.numpy()
    np.testing.assert_array_equal(weight, np.hstack([NUMBERS[f"w{p}"] for p in "qkv"]))


def test_the_packed_form_transposes_once(graph: Parse, expand: Rewrite, counts: Counts) -> None:
    """One Reshape and one Transpose for q, k and v together, one of each on the way back."""
    after = expand(graph(body(), **NUMBERS), "packed")
    assert counts(after) == {
        "Add": 1, "MatMul": 2, "Reshape": 2, "Softmax": 1, "Split": 1, "Transpose": 2,
        "com.microsoft.FusedMatMul": 1,
    }  # fmt: skip


def test_the_mask_is_expanded_once_for_all_layers(
    graph: Parse, expand: Rewrite, counts: Counts
) -> None:
    """Two layers of the operator form share the mask with a row a query."""
    inputs, made, _ = BIASES["padding"]
    layer = " ".join(f"m{p} = MatMul(x, w{p}) {p} = Add(m{p}, b{p})" for p in "qkv")
    second = " ".join(f"n{p} = MatMul(z, w{p}) {p}2 = Add(n{p}, b{p})" for p in "qkv")
    text = f"""(float[b,s,8] x{inputs}) => (float[b,s,8] y) {{ {made} {layer}
        z = {OPERATOR}(q, k, v, bias) {second} y = {OPERATOR}(q2, k2, v2, bias) }}"""
    found = counts(expand(graph(text, **NUMBERS), "operator"))
    assert (found["Attention"], found["Expand"]) == (2, 1)


OTHER_SOURCES = {
    "k and v of another tensor": (
        "z = Tanh(x) mq = MatMul(x, wq) q = Add(mq, bq) mk = MatMul(z, wk) k = Add(mk, bk)"
        " mv = MatMul(z, wv) v = Add(mv, bv)"
    ),
    "no biases": "q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)",
    "one bias missing": (
        "mq = MatMul(x, wq) q = Add(mq, bq) k = MatMul(x, wk) mv = MatMul(x, wv) v = Add(mv, bv)"
    ),
    "q is no Linear": (
        "mq = MatMul(x, wq) aq = Add(mq, bq) q = Tanh(aq) mk = MatMul(x, wk) k = Add(mk, bk)"
        " mv = MatMul(x, wv) v = Add(mv, bv)"
    ),
    "q is read twice": (
        "mq = MatMul(x, wq) q = Add(mq, bq) mk = MatMul(x, wk) ak = Add(mk, bk) k = Add(ak, q)"
        " mv = MatMul(x, wv) v = Add(mv, bv)"
    ),
}


@pytest.mark.parametrize("linears", OTHER_SOURCES.values(), ids=OTHER_SOURCES)
@pytest.mark.parametrize("form", FORMS)
def test_other_sources_are_not_packed(
    graph: Parse,
    expand: Rewrite,
    equal: Callable[..., None],
    form: str,
    linears: str,
) -> None:
    """Where the three are not alike, each stays for itself, and the answer is the same."""
    before = graph(body(linears=linears), **NUMBERS)
    after = expand(before, form)
    weights = {n.inputs[1].name for n in after.graph if n.op_type == "MatMul"}
    assert {"wq", "wk", "wv"} <= weights
    runnable = after if form == "packed" else before
    equal(before, runnable, feed("none"))


@pytest.mark.parametrize("form", FORMS)
def test_a_projection_that_is_an_output_is_still_there(
    graph: Parse, expand: Rewrite, run: Run, form: str
) -> None:
    """A graph output that packing would take away keeps its Linear."""
    model = graph(body(outputs=", float[b,s,8] k"), **NUMBERS)
    inputs = feed("none")
    y, k = run(expand(model, form), inputs)
    np.testing.assert_allclose(y, numpys("none", inputs), rtol=0, atol=1e-5)
    np.testing.assert_allclose(k, inputs["x"] @ NUMBERS["wk"] + NUMBERS["bk"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_layers_that_share_weights_share_the_packed_one(
    graph: Parse, expand: Rewrite, run: Run, form: str
) -> None:
    """ALBERT's layers are packed once: the weights are stored once."""
    first = " ".join(f"m{p} = MatMul(x, w{p}) {p} = Add(m{p}, b{p})" for p in "qkv")
    second = " ".join(f"n{p} = MatMul(z, w{p}) {p}2 = Add(n{p}, b{p})" for p in "qkv")
    text = f"""(float[b,s,8] x) => (float[b,s,8] y) {{ {first} z = {OPERATOR}(q, k, v)
        {second} y = {OPERATOR}(q2, k2, v2) }}"""
    after = expand(graph(text, **NUMBERS), form)
    shapes = [v.shape for v in after.graph.initializers.values()]
    assert shapes.count((8, 24)) == 1
    inputs = feed("none")
    expected = numpys("none", {"x": numpys("none", inputs)})
    np.testing.assert_allclose(run(after, inputs)[0], expected, rtol=0, atol=1e-5)


def test_other_domains_are_left_alone(graph: Parse, expand: Rewrite, counts: Counts) -> None:
    """An Attention of another domain is another operator."""
    text = "(float[b,s,8] x) => (float[b,s,8] y) { y = other.Attention(x) }"
    model = graph(text)
    model.graph.opset_imports["other"] = 1
    assert counts(expand(model, "packed")) == {"other.Attention": 1}


@pytest.mark.parametrize("form", FORMS)
def test_attention_to_other_tokens_keeps_a_row_a_query(
    graph: Parse, run: Run, expand: Callable[[ir.Model, str], ir.Model], form: str
) -> None:
    """A decoder's cross-attention has fewer or more queries than its mask has tokens."""
    made = "f = Cast<to = 1>(mask) i = Sub(f1, f) l = Mul(i, large) bias = Unsqueeze(l, rows)"
    linears = "q = MatMul(x, wq) k = MatMul(source, wk) v = MatMul(source, wv)"
    text = f"""(float[b,s,8] x, float[b,t,8] source, int64[b,t] mask) => (float[b,s,8] y)
        {{ {linears} {made} y = {OPERATOR}(q, k, v, bias) }}"""
    random = np.random.default_rng(1)
    inputs: dict[str, Array] = {
        "x": random.normal(size=(2, 5, WIDTH)).astype(np.float32),
        "source": random.normal(size=(2, 3, WIDTH)).astype(np.float32),
        "mask": np.array([[1, 1, 1], [1, 0, 0]]),
    }
    (y,) = run(expand(graph(text, **NUMBERS), form), inputs)
    x, source = inputs["x"], inputs["source"]
    qkv = (x @ NUMBERS["wq"], source @ NUMBERS["wk"], source @ NUMBERS["wv"])
    bias = np.where(inputs["mask"] == 1, 0, -10000)[:, None, None, :]
    np.testing.assert_allclose(y, attend(qkv, bias, HEADS, SCALE), atol=1e-5)
