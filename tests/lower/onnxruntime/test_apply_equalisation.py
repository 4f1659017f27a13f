"""Equalising factors go into the graph, and the graph computes the same."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecompile.facts import EQUALISED
from edgecompile.lower.onnxruntime.apply_equalisation import apply_equalisation
from edgecompile.plan import FLOAT, Activation, Plan

Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Equal = Callable[..., None]
Counts = Callable[[ir.Model], dict[str, int]]

WIDTH = 8
RANDOM = np.random.default_rng(12)
NUMBERS: dict[str, Any] = {
    **{f"w{p}": RANDOM.normal(size=(WIDTH, WIDTH)).astype(np.float32) for p in "qkvo"},
    **{f"b{p}": RANDOM.normal(size=WIDTH).astype(np.float32) for p in "qkvo"},
}
X = {"x": RANDOM.normal(size=(2, 5, WIDTH)).astype(np.float32)}
FACTORS = np.array([0.25, 0.5, 1, 2, 4, 8, 0.125, 3], np.float32)

LINEAR = "(float[b,s,8] x) => (float[b,s,8] y) { a = Neg(x) m = MatMul(a, wq) y = Add(m, bq) }"
PROJECTIONS = " ".join(f"m{p} = MatMul(x, w{p}) {p} = Add(m{p}, b{p})" for p in "qkv")
ATTENTION = f"""{PROJECTIONS}
    c = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.5>(q, k, v)
    mo = MatMul(c, wo) y = Add(mo, bo)"""
ATTENDED = f"(float[b,s,8] x) => (float[b,s,8] y) {{ {ATTENTION} }}"


def plan(*names: str, factors: npt.NDArray[Any] = FACTORS, **kept: str) -> Plan:
    """Return a plan that equalises these tensors."""
    mean = np.zeros(WIDTH, np.float32)
    activation = Activation(-4.0, 4.0, factors, mean, 0.5)
    return Plan(dict.fromkeys(names, activation), kept)


@pytest.fixture(scope="session")
def equalise(rewrite: Rewrite, equal: Equal) -> Callable[[ir.Model, Plan], ir.Model]:
    """Return a function that applies a plan's factors: the outputs do not change."""

    def apply(model: ir.Model, wanted: Plan) -> ir.Model:
        after = rewrite("lower/onnxruntime", model, "apply-equalisation", plan=wanted)
        equal(model, after, X)
        return after

    return apply


Equalise = Callable[[ir.Model, Plan], ir.Model]


def test_factors_go_before_and_into_the_linear(
    graph: Parse, equalise: Equalise, counts: Counts
) -> None:
    """The input is divided by s, row j of the weight is multiplied by s[j]."""
    after = equalise(graph(LINEAR, **NUMBERS), plan("a"))
    assert counts(after) == {"Add": 1, "MatMul": 1, "Mul": 1, "Neg": 1}
    weights = {n: v.const_value.numpy() for n, v in after.graph.initializers.items()}
    np.testing.assert_array_equal(weights["wq"], NUMBERS["wq"] * FACTORS[:, None])
    np.testing.assert_allclose(weights["a.equalise"], 1 / FACTORS, rtol=1e-6)
    assert after.metadata_props[EQUALISED] == "yes"


def test_readers_of_one_tensor_share_the_division(
    graph: Parse, equalise: Equalise, counts: Counts
) -> None:
    """Three projections of one tensor need one Mul."""
    after = equalise(graph(ATTENDED, **NUMBERS), plan("x"))
    assert counts(after)["Mul"] == 1


def test_factors_behind_an_attention_go_into_v(
    graph: Parse, equalise: Equalise, counts: Counts
) -> None:
    """The Linear of v takes them, weight and bias: no operator is added."""
    before = graph(ATTENDED, **NUMBERS)
    after = equalise(before, plan("c"))
    assert counts(after) == counts(before)
    weights = {n: v.const_value.numpy() for n, v in after.graph.initializers.items()}
    np.testing.assert_allclose(weights["wv"], NUMBERS["wv"] / FACTORS, rtol=1e-6)
    np.testing.assert_allclose(weights["bv"], NUMBERS["bv"] / FACTORS, rtol=1e-6)
    np.testing.assert_array_equal(weights["wo"], NUMBERS["wo"] * FACTORS[:, None])


def test_both_ends_of_v_may_be_equalised(graph: Parse, equalise: Equalise, counts: Counts) -> None:
    """V's weight is multiplied for its input and divided for the attention behind it."""
    after = equalise(graph(ATTENDED, **NUMBERS), plan("x", "c"))
    assert counts(after)["Mul"] == 1


@pytest.mark.parametrize(
    "text",
    [
        ATTENDED.replace("mo = ", "other = Neg(c) mo = ").replace("Add(mo, bo)", "Sub(mo, other)"),
        ATTENDED.replace("mo = ", "other = Neg(v) mo = ").replace("Add(mo, bo)", "Sub(mo, other)"),
        ATTENDED.replace("MatMul(x, wk)", "MatMul(x, wv)"),
        ATTENDED.replace("Add(mk, bk)", "Add(mk, bv)"),
        ATTENDED.replace("c = Att", "n = Neg(v) c = Att").replace("(q, k, v)", "(q, k, n)"),
        ATTENDED.replace("float[b,s,8] y)", "float[b,s,8] y, float[b,s,8] c)"),
        ATTENDED.replace("float[b,s,8] y)", "float[b,s,8] y, float[b,s,8] v)"),
    ],
    ids=["context read elsewhere", "v read elsewhere", "v's weight shared", "v's bias shared",
         "v is no Linear", "context is an output", "v is an output"],
)  # fmt: skip
def test_where_v_cannot_take_them_there_is_a_mul(
    graph: Parse, equalise: Equalise, counts: Counts, text: str
) -> None:
    """Whoever else reads what v's Linear makes must not see the factors."""
    assert counts(equalise(graph(text, **NUMBERS), plan("c")))["Mul"] == 1


def test_kept_linears_read_the_tensor_as_it_was(
    graph: Parse, equalise: Equalise, counts: Counts
) -> None:
    """A Linear that stays float keeps its weight and its input."""
    after = equalise(graph(ATTENDED, **NUMBERS), plan("x", wk="kept", bk="kept"))
    weights = {n: v.const_value.numpy() for n, v in after.graph.initializers.items()}
    np.testing.assert_array_equal(weights["wk"], NUMBERS["wk"])
    assert counts(after)["Mul"] == 1


@pytest.mark.parametrize("wanted", [FLOAT, plan("a", factors=np.ones(8, np.float32)), plan("zz")])
def test_nothing_to_equalise_changes_nothing(
    graph: Parse, equalise: Equalise, counts: Counts, wanted: Plan
) -> None:
    """An empty plan, factors of 1 and a tensor that nothing reads leave the graph as it was."""
    before = graph(LINEAR, **NUMBERS)
    after = equalise(before, wanted)
    assert counts(after) == counts(before)
    assert after.metadata_props[EQUALISED] == "yes"


def test_two_linears_of_one_input_may_share_a_weight(graph: Parse, equalise: Equalise) -> None:
    """A weight that is read twice is multiplied once."""
    text = """(float[b,s,8] x) => (float[b,s,8] y)
        { a = MatMul(x, wq) c = MatMul(x, wq) r = Relu(a) y = Add(r, c) }"""
    equalise(graph(text, **NUMBERS), plan("x"))


def test_layers_that_share_weights_share_factors(graph: Parse, equalise: Equalise) -> None:
    """ALBERT's layers read one weight: the plan gives them the same factors."""
    text = """(float[b,s,8] x) => (float[b,s,8] y)
        { a = MatMul(x, wq) r = Tanh(a) y = MatMul(r, wq) }"""
    equalise(graph(text, **NUMBERS), plan("x", "r"))


def test_a_weight_that_a_kept_linear_shares_is_not_changed_for_it(
    graph: Parse, equalise: Equalise
) -> None:
    """Of two Linears with one weight and two biases, one may stay float: it computes the same."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        m = MatMul(x, wq) a = Add(m, bq) r = Tanh(a) n = MatMul(r, wq) y = Add(n, bk) }"""
    equalise(graph(text, **NUMBERS), plan("x", bk="kept"))


@given(
    factors=arrays.arrays(np.float32, WIDTH, elements=st.floats(2**-7, 2**7, width=32)),
    name=st.sampled_from(["x", "c"]),
)
def test_any_factors_leave_the_outputs_alone(
    graph: Parse, equalise: Equalise, factors: npt.NDArray[Any], name: str
) -> None:
    """Four orders of magnitude between channels change nothing but rounding."""
    equalise(graph(ATTENDED, **NUMBERS), plan(name, factors=factors))


def test_no_second_copy_of_the_weights_is_made(graph: Parse) -> None:
    """Equalised weights are computed when they are read: a big model is not held twice."""
    width = 512
    text = LINEAR.replace("s,8", f"s,{width}")
    weight = np.ones((width, width), np.float32)
    model = graph(text, wq=weight, bq=np.zeros(width, np.float32))
    mean, factors = np.zeros(width, np.float32), np.full(width, 2, np.float32)
    wanted = Plan({"a": Activation(-4.0, 4.0, factors, mean, 0.5)})
    tracemalloc.start()
    try:
        after = apply_equalisation.run(model, wanted)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < weight.nbytes / 2
    scaled = after.graph.initializers["wq"].const_value
    assert scaled is not None
    np.testing.assert_array_equal(scaled.numpy(), 2 * weight)
