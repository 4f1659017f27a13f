"""From what was observed to ranges, equalising factors, and what stays float."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecompile.plan import Plan, affine
from edgecompile.quantize.decide_plan import (
    ALPHA,
    OTHER_ALPHA,
    decide_plan,
    equalising_factors,
)
from edgecompile.quantize.observe_ranges import Observed

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]

RANDOM = np.random.default_rng(21)
NUMBERS: dict[str, Any] = {
    **{f"w{p}": RANDOM.normal(size=(8, 8)).astype(np.float32) for p in "abcd"},
    **{f"b{p}": RANDOM.normal(size=8).astype(np.float32) for p in "abcd"},
}
TEXT = """(float[b,s,8] x) => (float[b,s,8] y) {
    r = Relu(x) ma = MatMul(r, wa) a = Add(ma, ba)
    t = Tanh(a) mb = MatMul(t, wb) y = Add(mb, bb) }"""


def seen(low: float | Array = -2.0, high: float | Array = 3.0, tokens: int = 4) -> Observed:
    """Return an observation of 8 channels whose mean is 0.5."""
    ones = np.ones(8, np.float32)
    return Observed(ones * low, ones * high, np.full(8, 0.5 * tokens), tokens)


# ------------------------------------------------------------------ factors


def test_factors_are_those_of_smoothquant() -> None:
    """S = peak^alpha / max|W|^(1 - alpha), over the largest row of all readers, mean factor 1."""
    peak = np.array([1, 10, 100, 0.1], np.float32)
    weights = [np.array([[1.0], [-2], [0.5], [1]]), np.array([[3.0, 0], [0, 1], [-4, 0], [1, 1]])]
    rows = np.array([3, 2, 4, 1])
    s = peak**0.7 / rows**0.3
    found = equalising_factors(peak, weights, 0.7)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, s / np.exp(np.log(s).mean()), rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_alpha_says_who_carries_the_outliers(alpha: float) -> None:
    """At 1 the activation is even, at 0 the weight is, at 0.5 both are alike."""
    peak = np.array([1, 4, 16, 64], np.float32)
    weight = np.array([[2.0], [3], [0.5], [1]], np.float32)
    s = equalising_factors(peak, [weight], alpha)
    activation, rows = peak / s, np.abs(weight[:, 0]) * s
    ratios = {0.0: rows, 0.5: activation / rows, 1.0: activation}[alpha]
    np.testing.assert_allclose(ratios, ratios[0], rtol=1e-5)


def test_dead_channels_do_not_divide_by_zero() -> None:
    """A channel that is always 0 and a row of zeros have a finite factor."""
    s = equalising_factors(np.array([0, 1, 5], np.float32), [np.array([[0.0], [0], [1]])], 0.5)
    assert np.isfinite(s).all()
    assert (s > 0).all()


@given(
    peak=arrays.arrays(np.float32, 6, elements=st.floats(0, 2**20, width=32)),
    weight=arrays.arrays(np.float32, (6, 3), elements=st.floats(-100, 100, width=32)),
    alpha=st.floats(0, 1),
)
def test_factors_are_positive_and_bounded(peak: Array, weight: Array, alpha: float) -> None:
    """Whatever was observed, 1e-4 <= s <= 1e4."""
    s = equalising_factors(peak, [weight], alpha)
    assert s.shape == (6,)
    assert ((s >= np.float32(1e-4)) & (s <= np.float32(1e4))).all()


# ------------------------------------------------------------------ plan


def decide(graph: Parse, text: str = TEXT, **observed: Observed) -> Plan:
    """Return the plan for a graph."""
    return decide_plan(graph(text, **NUMBERS), observed)


def test_ranges_are_those_after_the_factors(graph: Parse) -> None:
    """Low, high and mean are of x / s: the smallest, the largest, and each channel's."""
    low, high = -np.arange(1, 9, dtype=np.float32), np.arange(9, 1, -1).astype(np.float32)
    plan = decide(graph, r=seen(low, high), t=seen())
    activation = plan.activations["r"]
    peak = np.maximum(np.abs(low), high)
    s = equalising_factors(peak, [NUMBERS["wa"]], activation.alpha)
    np.testing.assert_array_equal(activation.smoothing, s)
    assert activation.low == pytest.approx((low / s).min())
    assert activation.high == pytest.approx((high / s).max())
    np.testing.assert_allclose(activation.mean, 0.5 / s, rtol=1e-6)


def test_a_small_output_linear_stays_float(graph: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Linear that makes the output is kept where it is small, with its true share."""
    monkeypatch.setattr("edgecompile.quantize.decide_plan.SMALL_SHARE", 0.9)
    plan = decide(graph, r=seen(), t=seen())
    share = NUMBERS["wb"].size / (NUMBERS["wa"].size + NUMBERS["wb"].size)
    reason = f"it makes the model's output and holds {share:.2%} of the weights"
    assert plan.kept_float == {"bb": reason}
    assert list(plan.activations) == ["r"]
    assert plan.embeddings


def test_a_large_output_linear_becomes_int8(graph: Parse) -> None:
    """A vocabulary's head, the largest matrix of all, is quantized like any other."""
    plan = decide(graph, r=seen(), t=seen())
    assert plan.kept_float == {}
    assert sorted(plan.activations) == ["r", "t"]


def test_what_calibration_did_not_see_stays_float(graph: Parse) -> None:
    """A Linear whose input was not observed is kept, with the reason."""
    plan = decide(graph, t=seen())
    assert plan.kept_float == {"ba": "calibration saw nothing of its input"}
    assert list(plan.activations) == ["t"]


@pytest.mark.parametrize("op_type", ["Relu", "Gelu", "Tanh"])
def test_alpha_depends_on_who_makes_the_tensor(graph: Parse, op_type: str) -> None:
    """Outliers of a Gelu move further into the weights than others."""
    plan = decide(graph, TEXT.replace("Relu", op_type), r=seen(), t=seen())
    assert plan.activations["r"].alpha == ALPHA.get(op_type, OTHER_ALPHA)


def test_a_graph_input_has_the_other_alpha(graph: Parse) -> None:
    """A tensor without producer is no special case."""
    text = TEXT.replace("MatMul(r, wa)", "MatMul(x, wa)")
    assert decide(graph, text, x=seen(), t=seen()).activations["x"].alpha == OTHER_ALPHA


def test_readers_of_one_tensor_share_its_factors(graph: Parse) -> None:
    """The largest row of any of them counts: there is one Activation."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        ma = MatMul(x, wa) mb = MatMul(x, wb) s = Add(ma, mb) y = Tanh(s) }"""
    plan = decide(graph, text, x=seen())
    assert list(plan.activations) == ["x"]
    expected = equalising_factors(seen().peak, [NUMBERS["wa"], NUMBERS["wb"]], OTHER_ALPHA)
    np.testing.assert_array_equal(plan.activations["x"].smoothing, expected)


def test_layers_that_share_weights_share_factors(graph: Parse) -> None:
    """ALBERT's layers read one weight: it can be multiplied by one s only, each has its range."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        ma = MatMul(x, wa) t = Tanh(ma) mb = MatMul(t, wa) y = Tanh(mb) }"""
    plan = decide(graph, text, x=seen(-8, 8), t=seen(-1, 1))
    first, second = plan.activations["x"], plan.activations["t"]
    np.testing.assert_array_equal(first.smoothing, second.smoothing)
    assert first.high > second.high


def test_a_reader_of_two_shared_weights_joins_their_groups(graph: Parse) -> None:
    """Whoever reads wa and wb ties all readers of both to one s, in whatever order they come."""
    text = """(float[b,s,8] x) => (float[b,s,8] y) {
        ma = MatMul(x, wa) t = Tanh(ma) mb = MatMul(t, wb) z = Tanh(mb)
        mc = MatMul(z, wa) md = MatMul(z, wb) u = Add(mc, md) y = Tanh(u) }"""
    plan = decide(graph, text, x=seen(-8, 8), t=seen(-1, 1), z=seen())
    factors = [plan.activations[name].smoothing for name in "xtz"]
    np.testing.assert_array_equal(factors[0], factors[1])
    np.testing.assert_array_equal(factors[0], factors[2])


def test_the_same_observation_gives_the_same_plan(graph: Parse) -> None:
    """Two decisions are equal to the last bit."""
    one, two = (decide(graph, r=seen(), t=seen()) for _ in range(2))
    np.testing.assert_array_equal(one.activations["r"].smoothing, two.activations["r"].smoothing)
    assert one.activations["r"].low == two.activations["r"].low


# ------------------------------------------------------------------ scale and zero point


@given(low=st.floats(-1e6, 1e6), high=st.floats(-1e6, 1e6))
def test_zero_is_exact_and_the_range_is_covered(low: float, high: float) -> None:
    """0 has a code of its own, and no end of the range is cut by more than half a step."""
    low, high = min(low, high), max(low, high)
    scale, zero = affine(low, high)
    assert 0 <= zero <= 255
    assert scale > 0
    assert scale * (0 - zero) <= low + scale * 0.5001
    assert scale * (255 - zero) >= high - scale * 0.5001


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [(0, 255, 1, 0), (-255, 0, 1, 255), (-1, 1, 2 / 255, 128), (2, 5.1, 0.02, 0), (0, 0, 1e-12, 0)],
)
def test_scales_and_zero_points_are_those_of_the_paper(
    low: float, high: float, scale: float, zero: int
) -> None:
    """Jacob et al. 2018; a range on one side of 0 is stretched to it, an empty one is harmless."""
    found = affine(low, high)
    assert found[0] == pytest.approx(scale)
    assert found[1] == zero


# ------------------------------------------------------------------ outputs


def test_outputs_get_one_range_for_all_channels(graph: Parse) -> None:
    """Asked for, each planned Linear's output is divided by its channels' sizes, mean factor 1."""
    model = graph(TEXT, **NUMBERS)
    low = np.array([-1, -2, -4, -8, -0.5, -3, -1, 0], np.float32)
    observed = {name: seen(low, -0.5 * low) for name in ("r", "t", "a", "y")}
    assert decide_plan(model, observed).outputs == {}
    outputs = decide_plan(model, observed, outputs=True).outputs
    assert set(outputs) == {"a", "y"}
    s = outputs["a"].smoothing
    np.testing.assert_allclose(np.log(s).mean(), 0, atol=1e-6)
    np.testing.assert_allclose((low / s)[:-1], outputs["a"].low, rtol=1e-5)
    assert outputs["a"].high == pytest.approx(-0.5 * outputs["a"].low)
    assert s[-1] == pytest.approx(s.max() / 1000)
    flat = decide_plan(model, observed, equalise=False, outputs=True).outputs["a"]
    assert (flat.low, flat.high, set(flat.smoothing)) == (-8, 4, {1})


def test_what_attention_reads_needs_no_factors_unless_a_channel_sticks_out(graph: Parse) -> None:
    """One scale for all channels does where they are about as wide; it costs no Mul."""
    text = """(float[1,s,8] x) => (float[1,s,8] y) {
        q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
        y = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.5>(q, k, v) }"""
    weights = {f"w{part}": np.eye(8, dtype=np.float32) for part in "qkv"}
    even = np.array([1, 2, 1, 2, 3, 1, 2, 1], np.float32)
    wide = np.array([1, 1, 1, 1, 100, 1, 1, 1], np.float32)
    sizes = {"x": even, "q": even, "k": wide, "v": even}
    observed = {name: seen(-size, size) for name, size in sizes.items()}
    outputs = decide_plan(graph(text, **weights), observed, outputs=True).outputs
    assert (outputs["q"].smoothing == 1).all()
    assert (outputs["q"].low, outputs["q"].high) == (-3, 3)
    assert (outputs["v"].smoothing == 1).all()
    assert outputs["k"].smoothing.max() > 50 * outputs["k"].smoothing.min()
