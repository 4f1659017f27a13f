"""What LiteRT has no operator for, in those that it has: the same numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

Array = npt.NDArray[Any]

CASES = {
    "LayerNormalization": (
        "(float[b,s,8] x) => (float[b,s,8] y) { y = LayerNormalization<epsilon = 0.1>(x, g, h) }",
        {"ReduceMean": 2, "Sub": 1, "Mul": 3, "Add": 2, "Pow": 1},
    ),
    "no bias": (
        "(float[b,s,8] x) => (float[b,s,8] y) { y = LayerNormalization<axis = -1>(x, g) }",
        {"ReduceMean": 2, "Sub": 1, "Mul": 3, "Add": 1, "Pow": 1},
    ),
    "ReduceL2": (
        "(float[b,s,8] x) => (float[b,s,1] y) { y = ReduceL2<keepdims = 1>(x, last) }",
        {"Mul": 1, "ReduceSum": 1, "Sqrt": 1},
    ),
    "Clip": (
        "(float[b,s,8] x) => (float[b,s,8] y) { y = Clip(x, low, high) }",
        {"Max": 1, "Min": 1},
    ),
    "from below": ("(float[b,s,8] x) => (float[b,s,8] y) { y = Clip(x, low) }", {"Max": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_it_computes_the_same(
    name: str,
    graph: Callable[..., ir.Model],
    rewrite: Callable[..., ir.Model],
    equal: Callable[..., None],
    counts: Callable[[ir.Model], dict[str, int]],
) -> None:
    """In operators that have one builtin each."""
    text, wanted = CASES[name]
    random = np.random.default_rng(7)
    g, h = random.normal(size=(2, 8)).astype(np.float32)
    constants = {"g": g, "h": h, "last": np.array([-1]), "low": np.float32(-0.5)}
    model = graph(text, **constants, high=np.float32(0.7))
    after = rewrite("lower/litert", model, "expand-operators")
    assert counts(after) == dict(sorted(wanted.items()))
    equal(model, after, {"x": random.normal(3, 2, (2, 5, 8)).astype(np.float32)})
