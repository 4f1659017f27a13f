"""Linears in int8, bit for bit what numpy's integers give."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.errors import NeedError
from edgecompile.plan import FLOAT, Activation, Plan
from edgecompile.rounding import quantize_weight
from edgecompile.target import REFERENCE, Target

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[Array]]
Counts = Callable[[ir.Model], dict[str, int]]

STEP = 2.0**-6
"""The scale of activations in the exact tests: a power of two, so that no float rounds."""

LINEAR = "(float[b,s,8] x) => (float[b,s,6] y) { m = MatMul(x, w) y = Add(m, b) }"
BARE = "(float[b,s,8] x) => (float[b,s,6] y) { y = MatMul(x, w) }"
RANDOM = np.random.default_rng(15)

UINT8 = dataclasses.replace(REFERENCE, activation="uint8", weight="int8-pairs")
"""AVX2 sums two products in 16 bits: weights in pairs cannot overflow there."""
INT8 = dataclasses.replace(REFERENCE, activation="int8", weight="int8")


def exact_weight() -> Array:
    """Return a weight [8, 6] of whole 127ths: its columns' scales are powers of two.

    Every second row is 0, so that pairs of rows keep within AVX2's limit as they are.
    """
    q = RANDOM.integers(-127, 128, (8, 6))
    q[0] = [127, -127, 127, 127, -127, 127]
    q[1::2] = 0
    return (q * 2.0 ** -np.arange(4, 10)).astype(np.float32)


def activation(low: float, high: float, mean: Array | float = 0.0) -> Activation:
    """Return an activation of 8 channels without equalising factors."""
    ones = np.ones(8, np.float32)
    return Activation(low, high, ones, np.asarray(mean * ones, np.float32), 0.5)


def with_zero(zero: int, mean: Array | float = 0.0) -> Activation:
    """Return an activation whose unsigned zero point is `zero` and whose scale is STEP."""
    return activation(-zero * STEP, (255 - zero) * STEP, mean)


@pytest.fixture(scope="session")
def quantize(rewrite: Rewrite) -> Callable[[ir.Model, Plan, Target], ir.Model]:
    """Return a function that runs the pass after the ones that it needs."""

    def apply(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
        names = ("apply-equalisation", "expand-attention", "quantize-linears")
        return rewrite("lower/onnxruntime", model, *names, plan=plan, target=target)

    return apply


def numpys(x: Array, seen: Activation, weight: Array, bias: Array, target: Target) -> Array:
    """Compute the int8 Linear in integers, and scale the sum once in float32."""
    scale = np.float32((seen.high - seen.low) / 255)
    zero = round(-seen.low / scale) - (128 if target.activation == "int8" else 0)
    low, high = (-128, 127) if target.activation == "int8" else (0, 255)
    q = np.clip(np.rint(x / scale) + zero, low, high).astype(np.int32)
    wq, ws = quantize_weight(weight, target.weight)
    corrected = bias - seen.mean @ (wq * ws - weight)
    total = (q - zero) @ wq.astype(np.int32)
    return total.astype(np.float32) * (scale * ws) + corrected.astype(np.float32)


# ------------------------------------------------------------------ integers


@pytest.mark.parametrize("target", [UINT8, INT8], ids=["uint8", "int8"])
@pytest.mark.parametrize("zero", [0, 1, 113, 128, 255])
def test_a_linear_is_integer_arithmetic(
    graph: Parse, quantize: Rewrite, run: Run, target: Target, zero: int
) -> None:
    """With scales that are powers of two the result is exact, to the last bit."""
    weight, bias = exact_weight(), np.arange(-3, 3).astype(np.float32)
    seen = with_zero(zero)
    q = RANDOM.integers(0, 256, (3, 5, 8))
    x = ((q - zero) * STEP).astype(np.float32)
    after = quantize(graph(LINEAR, w=weight, b=bias), Plan({"x": seen}), target)
    np.testing.assert_array_equal(run(after, {"x": x})[0], x @ weight + bias)


@pytest.mark.parametrize("target", [UINT8, INT8], ids=["uint8", "int8"])
def test_halves_round_to_even(graph: Parse, quantize: Rewrite, run: Run, target: Target) -> None:
    """0.5, 1.5 and 2.5 steps are 0, 2 and 2 steps, as IEEE and ONNX say."""
    steps = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 0.49], np.float32)
    even = np.array([-2, -2, 0, 0, 2, 2, 4, 0], np.float32)
    x = np.diag(steps)[None] * np.float32(STEP)
    weight = np.zeros((8, 6), np.float32)
    weight[::2] = 127 * 2.0**-7
    after = quantize(graph(BARE, w=weight), Plan({"x": with_zero(128)}), target)
    expected = np.diag(even)[None] * np.float32(STEP) @ weight
    np.testing.assert_array_equal(run(after, {"x": x})[0], expected)


@pytest.mark.parametrize("target", [UINT8, INT8], ids=["uint8", "int8"])
def test_what_lies_outside_the_range_is_cut(
    graph: Parse, quantize: Rewrite, run: Run, target: Target
) -> None:
    """Values beyond low and high become low and high."""
    x = np.array([-9, 9, -2, 2, 0, 1, 1e30, -1e30], np.float32)[None, None]
    weight = exact_weight()
    after = quantize(graph(BARE, w=weight), Plan({"x": with_zero(128)}), target)
    expected = np.clip(x, -128 * STEP, 127 * STEP) @ weight
    np.testing.assert_array_equal(run(after, {"x": x})[0], expected)


@pytest.mark.parametrize("target", [UINT8, INT8], ids=["uint8", "int8"])
@given(drawn=st.tuples(st.floats(-8, -0.1), st.floats(0.1, 8), st.integers(0, 99)))
def test_any_range_and_weight_is_numpys(
    graph: Parse,
    quantize: Rewrite,
    run: Run,
    target: Target,
    drawn: tuple[float, float, int],
) -> None:
    """With scales of any value the sum is the same integer; its scaling may round once more."""
    low, high, seed = drawn
    random = np.random.default_rng(seed)
    x = random.normal(size=(2, 3, 8)).astype(np.float32) * 3
    weight = random.normal(size=(8, 6)).astype(np.float32)
    bias = random.normal(size=6).astype(np.float32)
    seen = activation(low, high, random.normal(size=8))
    (y,) = run(quantize(graph(LINEAR, w=weight, b=bias), Plan({"x": seen}), target), {"x": x})
    # x / scale may fall on either side of a half: allow one step of one channel.
    step = (seen.high - seen.low) / 255 * np.abs(weight).max()
    expected = numpys(x, seen, weight, bias, target)
    assert np.abs(y - expected).max() <= step
    assert np.mean(np.isclose(y, expected, rtol=1e-5, atol=1e-5)) > 0.9


# ------------------------------------------------------------------ bias and weight


def test_the_bias_takes_back_the_mean_error_of_the_weight(graph: Parse, quantize: Rewrite) -> None:
    """The new bias is b - E[x] (scale Wq - W), Nagel et al. 2019."""
    weight, bias = (RANDOM.normal(size=s).astype(np.float32) for s in ((8, 6), 6))
    mean = RANDOM.normal(size=8).astype(np.float32)
    after = quantize(graph(LINEAR, w=weight, b=bias), Plan({"x": activation(-4, 4, mean)}), INT8)
    (node,) = (n for n in after.graph if n.op_type == "MatMulIntegerToFloat")
    wq, ws, corrected = (node.inputs[i].const_value.numpy() for i in (1, 3, 6))
    scale = np.abs(weight).max(axis=0) / 127
    np.testing.assert_allclose(ws, scale, rtol=1e-6)
    np.testing.assert_array_equal(wq, np.rint(weight / ws))
    error = wq.astype(np.float64) * ws - weight
    np.testing.assert_allclose(corrected, bias - mean @ error, rtol=0, atol=1e-6)


def test_the_mean_is_right_where_the_input_is_the_mean(
    graph: Parse, quantize: Rewrite, run: Run
) -> None:
    """On its own mean, an int8 Linear makes no error but that of the input's rounding."""
    weight = RANDOM.normal(size=(8, 6)).astype(np.float32)
    mean = (RANDOM.integers(-100, 100, 8) * STEP).astype(np.float32)
    after = quantize(graph(BARE, w=weight), Plan({"x": with_zero(128, mean)}), INT8)
    (y,) = run(after, {"x": mean[None, None]})
    np.testing.assert_allclose(y[0, 0], mean @ weight, rtol=0, atol=1e-5)


def test_a_column_of_zeros_gives_the_bias(graph: Parse, quantize: Rewrite, run: Run) -> None:
    """An output that reads nothing is its bias, not NaN."""
    weight, bias = exact_weight(), np.full(6, 0.3, np.float32)
    weight[:, 2] = 0
    after = quantize(graph(LINEAR, w=weight, b=bias), Plan({"x": with_zero(3)}), UINT8)
    (y,) = run(after, {"x": np.ones((1, 2, 8), np.float32)})
    np.testing.assert_array_equal(y[..., 2], np.full((1, 2), 0.3, np.float32))


def test_an_equalised_input_is_found_by_its_own_name(
    graph: Parse, quantize: Rewrite, run: Run, counts: Counts
) -> None:
    """The plan names x, the graph reads x.equalised: range and mean are those of x / s."""
    s = np.array([1, 2, 4, 8, 0.5, 0.25, 1, 1], np.float32)
    weight = exact_weight()
    scaled = (weight / s[:, None]).astype(np.float32)
    seen = dataclasses.replace(with_zero(128), smoothing=s)
    after = quantize(graph(BARE, w=scaled), Plan({"x": seen}), INT8)
    assert counts(after)["com.microsoft.MatMulIntegerToFloat"] == 1
    x = (RANDOM.integers(-128, 128, (1, 4, 8)) * STEP).astype(np.float32)
    np.testing.assert_array_equal(run(after, {"x": x * s})[0], x @ weight)


# ------------------------------------------------------------------ which


def test_one_input_is_quantized_once(graph: Parse, quantize: Rewrite, counts: Counts) -> None:
    """Two Linears of one tensor share its QuantizeLinear."""
    text = """(float[b,s,8] x) => (float[b,s,6] y)
        { m = MatMul(x, w) n = MatMul(x, v) y = Add(m, n) }"""
    model = graph(text, w=exact_weight(), v=exact_weight())
    after = quantize(model, Plan({"x": with_zero(9)}), UINT8)
    assert counts(after) == {
        "Add": 1, "QuantizeLinear": 1, "com.microsoft.MatMulIntegerToFloat": 2,
    }  # fmt: skip


def test_a_shared_weight_is_stored_once(graph: Parse, quantize: Rewrite) -> None:
    """Layers that share a weight share its int8 form."""
    text = """(float[b,s,8] x) => (float[b,s,8] y)
        { m = MatMul(x, w) r = Tanh(m) y = MatMul(r, w) }"""
    weight = RANDOM.normal(size=(8, 8)).astype(np.float32)
    seen = activation(-1, 1)
    after = quantize(graph(text, w=weight), Plan({"x": seen, "r": seen}), UINT8)
    stored = [v for v in after.graph.initializers.values() if v.dtype == ir.DataType.INT8]
    assert [value.shape for value in stored] == [(8, 8)]


@pytest.mark.parametrize(
    "plan",
    [FLOAT, Plan({"other": with_zero(0)}), Plan({"x": with_zero(0)}, {"w": "kept"})],
    ids=["float", "unplanned", "kept"],
)
def test_the_rest_stays_float(graph: Parse, quantize: Rewrite, counts: Counts, plan: Plan) -> None:
    """What the plan does not name, or keeps, is the MatMul that it was."""
    after = quantize(graph(BARE, w=exact_weight()), plan, UINT8)
    assert counts(after) == {"MatMul": 1}


def test_a_product_of_activations_is_no_linear(
    graph: Parse, quantize: Rewrite, counts: Counts
) -> None:
    """Scores of an attention have no weight: they stay float."""
    text = """(float[b,s,8] x) => (float[b,s,s] y)
        { t = Transpose<perm = [0,2,1]>(x) y = MatMul(x, t) }"""
    after = quantize(graph(text), Plan({"x": with_zero(0)}), UINT8)
    assert counts(after) == {"MatMul": 1, "Transpose": 1}


def test_a_kept_projection_is_not_packed_with_the_others(
    graph: Parse, quantize: Rewrite, counts: Counts
) -> None:
    """A plan that keeps k float keeps it float, also where q, k and v could be one Linear."""
    linears = " ".join(f"m{p} = MatMul(x, w{p}) {p} = Add(m{p}, b{p})" for p in "qkv")
    text = f"""(float[b,s,8] x) => (float[b,s,8] y) {{ {linears}
        y = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.5>(q, k, v) }}"""
    arrays = {f"w{p}": RANDOM.normal(size=(8, 8)).astype(np.float32) for p in "qkv"}
    arrays |= {f"b{p}": RANDOM.normal(size=8).astype(np.float32) for p in "qkv"}
    plan = Plan({"x": activation(-4, 4)}, {"bk": "kept"})
    assert counts(quantize(graph(text, **arrays), plan, UINT8))["MatMul"] == 1


def test_it_needs_the_factors_in_place(graph: Parse, rewrite: Rewrite) -> None:
    """Quantizing before the equalising factors are applied is refused, with what is missing."""
    model = graph(BARE, w=exact_weight())
    with pytest.raises(NeedError) as error:
        rewrite("lower/onnxruntime", model, "quantize-linears", plan=FLOAT, target=UINT8)
    assert str(error.value) == (
        "quantize-linears needs: Its equalising factors are in the graph. But they are not applied"
        " yet. Add before it: nothing; change the model"
    )


# ------------------------------------------------------------------ dynamic rung


def test_the_dynamic_rung_finds_the_range_at_run_time(
    graph: Parse, quantize: Rewrite, run: Run, counts: Counts
) -> None:
    """A planned range that is far too small does not saturate: each inference has its own."""
    weight = RANDOM.normal(size=(8, 6)).astype(np.float32)
    bias = RANDOM.normal(size=6).astype(np.float32)
    model = graph(LINEAR, w=weight, b=bias)
    seen = dataclasses.replace(activation(-0.01, 0.01), dynamic="a test")
    found = quantize(model, Plan({"x": seen}), UINT8)
    assert counts(found)["DynamicQuantizeLinear"] == 1
    x = RANDOM.normal(size=(1, 5, 8)).astype(np.float32)
    (y,) = run(found, {"x": x})
    low, high = min(x.min(), 0), max(x.max(), 0)
    scale = np.float32((high - low) / np.float32(255))
    zero = np.clip(np.rint(-low / scale), 0, 255)
    q = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int32)
    wq, ws = quantize_weight(weight, UINT8.weight)
    wanted = ((q - int(zero)) @ wq.astype(np.int32)).astype(np.float32) * (scale * ws) + bias
    np.testing.assert_allclose(y, wanted, atol=1e-5)
