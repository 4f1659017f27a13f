"""Weights alone rounded by blocks: what onnxruntime makes of the bytes is what numpy does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.blockwise import quantize_blocks
from edgecompile.plan import FLOAT, Plan
from edgecompile.quantize.plan_weights import plan_weights
from edgecompile.target import REFERENCE

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[Array]]
Counts = Callable[[ir.Model], dict[str, int]]

BITS = {"int4": 4, "int8": 8}
BARE = "(float[b,s,%d] x) => (float[b,s,6] z) { y = MatMul(x, w) z = Tanh(y) }"
BIASED = "(float[b,s,8] x) => (float[b,s,6] z) { m = MatMul(x, w) y = Add(m, b) z = Tanh(y) }"
TWICE = """(float[b,s,8] x) => (float[b,s,8] z) {
    a = MatMul(x, w) t = Tanh(a) y = MatMul(t, w) z = Tanh(y) }"""


@pytest.fixture(scope="session")
def quantize(rewrite: Rewrite) -> Callable[[ir.Model, Plan], ir.Model]:
    """Return a function that runs the pass after the ones that it needs."""

    def apply(model: ir.Model, plan: Plan) -> ir.Model:
        names = ("apply-equalisation", "expand-attention", "quantize-linears", "quantize-weights")
        return rewrite("lower/onnxruntime", model, *names, plan=plan, target=REFERENCE)

    return apply


def at_level(model: ir.Model, level: int) -> ir.Model:
    """Return the model with another accuracy level."""
    for node in model.graph:
        if node.op_type == "MatMulNBits":
            node.attributes["accuracy_level"] = ir.AttrInt64("accuracy_level", level)
    return model


def rounded(weight: Array, bits: int) -> Array:
    """Return the weight [in, out] that the rounded one stands for, by numpy."""
    q, scale, zero = quantize_blocks(weight, bits)
    steps = q.astype(np.float32) - zero[..., None].astype(np.float32)
    found = (steps * scale[..., None]).reshape(weight.shape[1], -1)
    return np.ascontiguousarray(found[:, : len(weight)].T)


@pytest.mark.parametrize("rows", [8, 32, 96, 100])
@pytest.mark.parametrize("weights", BITS)
def test_the_bytes_are_the_rounded_weight(  # noqa: PLR0917 - fixtures
    weights: str, rows: int, graph: Parse, quantize: Rewrite, run: Run, random: np.random.Generator
) -> None:
    """Row i of the identity brings out row i of the weight, bit for bit, whatever `in` is."""
    weight = random.normal(size=(rows, 6)).astype(np.float32)
    model = graph(BARE.replace("Tanh", "Identity") % rows, w=weight)
    after = at_level(quantize(model, plan_weights(model, weights)), 0)
    (found,) = run(after, {"x": np.eye(rows, dtype=np.float32)[None]})
    np.testing.assert_array_equal(found[0], rounded(weight, BITS[weights]))


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("weights", BITS)
def test_whole_numbers_come_out_whole(  # noqa: PLR0917 - fixtures
    weights: str,
    tokens: int,
    graph: Parse,
    quantize: Rewrite,
    run: Run,
    random: np.random.Generator,
) -> None:
    """The kernel may round activations to 8 bits: those that need no rounding are exact."""
    top = 2 ** BITS[weights] - 1
    q = random.integers(0, top + 1, (96, 6)) - (7 if weights == "int4" else 128)
    q = np.maximum(q, -127)
    q[::32], q[1::32] = (8, -7) if weights == "int4" else (127, -127)
    weight = (q / 64).astype(np.float32)
    x = random.integers(-127, 128, (1, tokens, 96)).astype(np.float32)
    x[..., ::32] = 127
    model = graph(BARE.replace("Tanh", "Identity") % 96, w=weight)
    (found,) = run(quantize(model, plan_weights(model, weights)), {"x": x})
    np.testing.assert_array_equal(found, x @ weight)


@pytest.mark.parametrize("weights", BITS)
def test_a_bias_stays_an_add(
    weights: str, graph: Parse, quantize: Rewrite, counts: Counts, random: np.random.Generator
) -> None:
    """MatMulNBits takes no bias in the oldest runtime; without a plan nothing is done."""
    arrays = {"w": random.normal(size=(8, 6)), "b": random.normal(size=6)}
    model = graph(BIASED, **{k: v.astype(np.float32) for k, v in arrays.items()})
    after = quantize(model, plan_weights(model, weights))
    assert counts(after) == {"Add": 1, "Tanh": 1, "com.microsoft.MatMulNBits": 1}
    assert "w" not in after.graph.initializers
    assert counts(quantize(model, FLOAT)) == counts(model)


def test_what_the_plan_keeps_float_stays(graph: Parse, quantize: Rewrite, counts: Counts) -> None:
    """And a weight that two Linears share is stored once."""
    model = graph(TWICE, w=np.eye(8, dtype=np.float32))
    plan = plan_weights(model, "int4")
    after = quantize(model, plan)
    assert counts(after)["com.microsoft.MatMulNBits"] == 2
    assert len(after.graph.initializers) == 3
    kept = Plan({"t": plan.activations["t"]}, weights="int4")
    assert counts(quantize(model, kept)) == {"MatMul": 1, "Tanh": 2, "com.microsoft.MatMulNBits": 1}
