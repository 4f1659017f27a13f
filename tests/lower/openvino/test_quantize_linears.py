"""Linears in int8 for OpenVINO: standard operators that compute numpy's integers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.plan import Activation, Plan
from edgecompile.rounding import quantize_weight
from edgecompile.target import REFERENCE, Forms

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[Array]]
Counts = Callable[[ir.Model], dict[str, int]]

LINEAR = "(float[b,s,8] x) => (float[b,s,6] y) { m = MatMul(x, w) y = Add(m, b) }"
POOLED = LINEAR.replace("b,s,", "b,")
RANDOM = np.random.default_rng(32)
W = RANDOM.normal(size=(8, 6)).astype(np.float32)
B = RANDOM.normal(size=6).astype(np.float32)
MEAN = RANDOM.normal(size=8).astype(np.float32)
FACTORS = np.exp(RANDOM.normal(size=8)).astype(np.float32)
SEEN = Activation(-2.0, 3.0, np.ones(8, np.float32), MEAN, 0.5)
FORMS = ["matmul", "convolution"]


@pytest.fixture(scope="session")
def quantize(rewrite: Rewrite) -> Callable[..., ir.Model]:
    """Return a function that runs the pass after the ones that it needs."""

    def apply(model: ir.Model, plan: Plan, form: str, activation: str = "uint8") -> ir.Model:
        forms = Forms(attention="operator", linear=form)
        target = dataclasses.replace(
            REFERENCE, weight="int8-pairs", activation=activation, forms=forms
        )
        names = ("apply-equalisation", "infer-shapes", "expand-attention", "quantize-linears")
        return rewrite("lower/openvino", model, *names, plan=plan, target=target)

    return apply


def numpys(x: Array, s: Array) -> Array:
    """Compute the equalised int8 Linear in integers, its bias corrected."""
    scale, zero = 5 / 255, round(2 * 255 / 5)
    q = np.clip(np.rint(x / s / scale) + zero, 0, 255) - zero
    wq, ws = quantize_weight(W * s[:, None], "int8-pairs")
    bias = B - MEAN @ (wq * ws - W * s[:, None])
    return (q @ wq.astype(np.float64)) * scale * ws + bias


@pytest.mark.parametrize("form", [(form, kind) for form in FORMS for kind in ("uint8", "int8")])
@pytest.mark.parametrize("factors", [np.ones(8, np.float32), FACTORS], ids=["plain", "equalised"])
def test_a_linear_is_integer_arithmetic(
    graph: Parse, quantize: Rewrite, run: Run, form: tuple[str, str], factors: Array
) -> None:
    """Both forms give the integer sums, scaled once, and the corrected bias."""
    plan = Plan({"x": dataclasses.replace(SEEN, smoothing=factors)})
    x = RANDOM.normal(size=(2, 5, 8)).astype(np.float32)
    after = quantize(graph(LINEAR, w=W, b=B), plan, *form)
    (found,) = run(after, {"x": x})
    np.testing.assert_allclose(found, numpys(x, factors), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_held_in_int8(graph: Parse, quantize: Rewrite, form: str) -> None:
    """No float weight is left, and none in another type."""
    after = quantize(graph(LINEAR, w=W, b=B), Plan({"x": SEEN}), form)
    large = [v.const_value for v in after.graph.initializers.values() if v.const_value.size == 48]
    assert [tensor.dtype for tensor in large] == [ir.DataType.INT8]


def test_only_standard_operators_are_used(graph: Parse, quantize: Rewrite, counts: Counts) -> None:
    """The file is plain QDQ."""
    after = quantize(graph(LINEAR, w=W, b=B), Plan({"x": SEEN}), "convolution")
    assert counts(after) == {
        "Conv": 1, "DequantizeLinear": 2, "QuantizeLinear": 1, "Transpose": 2,
    }  # fmt: skip


def test_a_pooled_linear_is_multiplied(
    graph: Parse, quantize: Rewrite, run: Run, counts: Counts
) -> None:
    """[B, C] has no tokens to convolve over."""
    after = quantize(graph(POOLED, w=W, b=B), Plan({"x": SEEN}), "convolution")
    assert counts(after)["MatMul"] == 1
    x = RANDOM.normal(size=(3, 8)).astype(np.float32)
    np.testing.assert_allclose(run(after, {"x": x})[0], numpys(x, np.ones(8)), rtol=0, atol=1e-5)


def test_readers_of_one_tensor_share_its_rounding(
    graph: Parse, quantize: Rewrite, counts: Counts
) -> None:
    """One QuantizeLinear and one Transpose in front of all."""
    text = """(float[b,s,8] x) => (float[b,s,6] y, float[b,s,6] z)
        { y = MatMul(x, w) z = MatMul(x, v) }"""
    found = counts(quantize(graph(text, w=W, v=-W), Plan({"x": SEEN}), "convolution"))
    assert (found["QuantizeLinear"], found["Conv"], found["Transpose"]) == (1, 2, 3)


@pytest.mark.parametrize("plan", [Plan(), Plan({"x": SEEN}, {"w": "it is told to"})])
def test_what_is_not_planned_stays_float(
    graph: Parse, quantize: Rewrite, counts: Counts, plan: Plan
) -> None:
    """A Linear whose input was not observed, and one that the plan keeps."""
    text = "(float[b,s,8] x) => (float[b,s,6] y) { y = MatMul(x, w) }"
    assert counts(quantize(graph(text, w=W), plan, "convolution")) == {"MatMul": 1}


def test_one_token_is_no_convolution(graph: Parse, quantize: Rewrite, counts: Counts) -> None:
    """A file for one position alone, always, is a MatMul: OpenVINO's convolution may be wrong."""
    one = LINEAR.replace("b,s,", "1,1,")
    found = counts(quantize(graph(one, w=W, b=B), Plan({"x": SEEN}), "convolution"))
    assert "Conv" not in found
    assert found["MatMul"] == 1
