"""Gelu in onnxruntime's own operator, exact or by tanh."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.target import REFERENCE, Forms

Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[npt.NDArray[Any]]]
Counts = Callable[[ir.Model], dict[str, int]]

X = np.linspace(-8, 8, 2 * 16 * 8, dtype=np.float32).reshape(2, 16, 8)
EXACT = "y = Gelu(x)"
APPROXIMATE = 'y = Gelu<approximate = "tanh">(x)'


@pytest.fixture(scope="session")
def convert(graph: Parse, rewrite: Rewrite) -> Callable[[str, str], ir.Model]:
    """Return a function that converts a Gelu for a target that wants one of the forms."""

    def apply(body: str, form: str) -> ir.Model:
        model = graph(f"(float[b,s,8] x) => (float[b,s,8] y) {{ {body} }}")
        target = dataclasses.replace(REFERENCE, forms=Forms(gelu=form))
        return rewrite("lower/onnxruntime", model, "convert-gelu", target=target)

    return apply


@pytest.mark.parametrize(
    ("body", "form", "op_type"),
    [
        (EXACT, "erf", "com.microsoft.Gelu"),
        (EXACT, "tanh", "com.microsoft.FastGelu"),
        (APPROXIMATE, "erf", "com.microsoft.FastGelu"),
        (APPROXIMATE, "tanh", "com.microsoft.FastGelu"),
        ('y = Gelu<approximate = "none">(x)', "erf", "com.microsoft.Gelu"),
    ],
)
def test_the_form_is_the_targets_and_the_models(
    convert: Rewrite, counts: Counts, body: str, form: str, op_type: str
) -> None:
    """A target may ask for tanh; a model that was trained with tanh gets it from every target."""
    after = convert(body, form)
    assert counts(after) == {op_type: 1}
    assert after.graph.outputs[0].name == "y"
    assert after.graph.opset_imports["com.microsoft"] == 1


def test_erf_is_exact(convert: Rewrite, run: Run) -> None:
    """The exact form is x times the normal distribution's cumulative function."""
    expected = X * 0.5 * (1 + np.vectorize(math.erf)(X.astype(np.float64) / math.sqrt(2)))
    (y,) = run(convert(EXACT, "erf"), {"x": X})
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6)


def test_tanh_is_the_approximation_and_close(convert: Rewrite, run: Run) -> None:
    """The tanh form is the formula, and at most 4.8e-4 away from the exact one."""
    x = X.astype(np.float64)
    expected = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    (y,) = run(convert(EXACT, "tanh"), {"x": X})
    np.testing.assert_allclose(y, expected, rtol=0, atol=2e-6)
    (exact,) = run(convert(EXACT, "erf"), {"x": X})
    assert np.abs(y - exact).max() < 4.8e-4


def test_a_model_trained_with_tanh_is_unchanged(
    graph: Parse, convert: Rewrite, equal: Callable[..., None]
) -> None:
    """The standard operator and onnxruntime's own compute the same approximation."""
    before = graph(f"(float[b,s,8] x) => (float[b,s,8] y) {{ {APPROXIMATE} }}")
    equal(before, convert(APPROXIMATE, "erf"), {"x": X})


def test_every_gelu_is_converted_and_nothing_else(convert: Rewrite, counts: Counts) -> None:
    """Two of them, and a Relu that stays."""
    after = convert("a = Gelu(x) r = Relu(a) y = Gelu(r)", "erf")
    assert counts(after) == {"Relu": 1, "com.microsoft.Gelu": 2}
