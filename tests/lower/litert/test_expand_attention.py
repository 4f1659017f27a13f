"""Attention as float matrix products: the same numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.plan import FLOAT

OPERATOR = "Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.4>"
INPUTS = "float[b,s,8] q, float[b,s,8] k, float[b,s,6] v"
MASKED = f"({INPUTS}, float[b,1,1,s] bias) => (float[b,s,6] y) {{ y = {OPERATOR}(q, k, v, bias) }}"
BARE = f"({INPUTS}) => (float[b,s,6] y) {{ y = {OPERATOR}(q, k, v) }}"


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (1, 20)])
@pytest.mark.parametrize("text", [MASKED, BARE])
def test_it_computes_attention(  # noqa: PLR0917 - fixtures
    text: str,
    size: tuple[int, int],
    graph: Callable[..., ir.Model],
    rewrite: Callable[..., ir.Model],
    equal: Callable[..., None],
    counts: Callable[[ir.Model], dict[str, int]],
) -> None:
    """For any length, padding and width of v; two products, one softmax."""
    random, (batch, sequence) = np.random.default_rng(31), size
    feed: dict[str, Any] = {
        name: random.normal(size=(batch, sequence, width)).astype(np.float32)
        for name, width in {"q": 8, "k": 8, "v": 6}.items()
    }
    if text is MASKED:
        feed["bias"] = random.choice([0, -10_000], (batch, 1, 1, sequence)).astype(np.float32)
    names = ("apply-equalisation", "expand-attention")
    after = rewrite("lower/litert", graph(text), *names, plan=FLOAT)
    found = counts(after)
    assert (found["com.microsoft.FusedMatMul"], found["Softmax"]) == (2, 1)
    equal(graph(text), after, feed)
