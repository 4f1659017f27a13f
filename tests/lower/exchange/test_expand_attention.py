"""Attention in plain operators, as other tools export it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[Array]]

HEADS, SCALE = 2, 0.4
OPERATOR = f"Attention<q_num_heads = {HEADS}, kv_num_heads = {HEADS}, scale = {SCALE}>"
TEXT = f"""(float[b,s,8] q, float[b,s,8] k, float[b,s,8] v) => (float[b,s,8] y)
    {{ y = {OPERATOR}(q, k, v) }}"""
SHAPES = {
    "a row for all queries": (2, 1, 1, 7),
    "a row a query": (2, 1, 7, 7),
    "a row a query and head": (2, 2, 7, 7),
    "for all sequences": (1, 1, 7, 7),
}


@pytest.fixture(scope="session")
def expand(rewrite: Rewrite) -> Callable[[ir.Model], ir.Model]:
    """Return a function that runs the pass."""
    return lambda model: rewrite("lower/exchange", model, "expand-attention")


def feed(batch: int = 2, sequence: int = 7) -> dict[str, Array]:
    """Return q, k and v."""
    random = np.random.default_rng(18)
    shape = (batch, sequence, 8)
    return {name: random.normal(size=shape).astype(np.float32) for name in "qkv"}


def numpys(inputs: dict[str, Array]) -> Array:
    """Compute the attention query by query in float64."""
    q, k, v = (inputs[name].astype(np.float64) for name in "qkv")
    bias = np.broadcast_to(inputs.get("bias", 0), (len(q), HEADS, q.shape[1], q.shape[1]))
    y = np.zeros_like(q)
    size = q.shape[2] // HEADS
    for b, head, s in np.ndindex(len(q), HEADS, q.shape[1]):
        part = slice(head * size, (head + 1) * size)
        scores = SCALE * k[b, :, part] @ q[b, s, part] + bias[b, head, s]
        p = np.exp(scores - scores.max())
        y[b, s, part] = p / p.sum() @ v[b, :, part]
    return y


def test_the_operators_are_those_of_torch(
    graph: Parse, expand: Rewrite, counts: Callable[[ir.Model], dict[str, int]]
) -> None:
    """A Transpose and a Reshape for each of q, k, v and y; two products and a Softmax."""
    after = expand(graph(TEXT))
    assert counts(after) == {"MatMul": 2, "Mul": 1, "Reshape": 4, "Softmax": 1, "Transpose": 4}
    assert [value.name for value in after.graph.outputs] == ["y"]


@given(batch=st.integers(1, 4), sequence=st.integers(1, 20))
def test_it_computes_attention(
    graph: Parse, expand: Rewrite, run: Run, batch: int, sequence: int
) -> None:
    """For any batch and length."""
    inputs = feed(batch, sequence)
    (y,) = run(expand(graph(TEXT)), inputs)
    np.testing.assert_allclose(y, numpys(inputs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_bias_broadcasts(
    graph: Parse, expand: Rewrite, run: Run, shape: tuple[int, ...]
) -> None:
    """The bias is added to the scores, whichever of its axes are 1."""
    dims = ",".join(map(str, shape))
    text = TEXT.replace("v) =>", f"v, float[{dims}] bias) =>").replace("k, v) }", "k, v, bias) }")
    bias = np.random.default_rng(19).normal(size=shape).astype(np.float32) * 3
    inputs = feed() | {"bias": bias}
    (y,) = run(expand(graph(text)), inputs)
    np.testing.assert_allclose(y, numpys(inputs), rtol=0, atol=1e-5)


def test_two_layers_are_both_expanded(
    graph: Parse, expand: Rewrite, run: Run, counts: Callable[[ir.Model], dict[str, int]]
) -> None:
    """Names do not collide."""
    text = TEXT.replace("y = ", "z = ").replace("k, v) }", f"k, v) y = {OPERATOR}(z, k, v) }}")
    after = expand(graph(text))
    assert counts(after)["Softmax"] == 2
    inputs = feed()
    expected = numpys(inputs | {"q": numpys(inputs)})
    np.testing.assert_allclose(run(after, inputs)[0], expected, rtol=0, atol=1e-5)
