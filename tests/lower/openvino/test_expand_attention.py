"""Attention between convolutions: channels before tokens, the same numbers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.plan import FLOAT
from edgecompile.target import REFERENCE, Forms

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[Array]]

OPERATOR = "Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.4>"
TEXT = f"""(float[b,s,8] q, float[b,s,8] k, float[b,s,6] v, float[b,1,1,s] bias)
    => (float[b,s,6] y) {{ y = {OPERATOR}(q, k, v, bias) }}"""


@pytest.fixture(scope="session")
def expand(rewrite: Rewrite) -> Callable[..., ir.Model]:
    """Return a function that writes a graph's attention in a form."""

    def apply(model: ir.Model, form: str) -> ir.Model:
        target = dataclasses.replace(REFERENCE, forms=Forms(attention=form))
        names = ("apply-equalisation", "infer-shapes", "expand-attention")
        return rewrite("lower/openvino", model, *names, plan=FLOAT, target=target)

    return apply


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (3, 20)])
def test_channels_first_computes_attention(
    graph: Parse, rewrite: Rewrite, expand: Rewrite, run: Run, size: tuple[int, int]
) -> None:
    """For any batch, length, padding and width of v."""
    random, (batch, sequence) = np.random.default_rng(31), size
    feed = {
        name: random.normal(size=(batch, sequence, width)).astype(np.float32)
        for name, width in {"q": 8, "k": 8, "v": 6}.items()
    }
    feed["bias"] = random.choice([0, -10_000], (batch, 1, 1, sequence)).astype(np.float32)
    plain = rewrite("lower/exchange", graph(TEXT), "expand-attention")
    (found,) = run(expand(graph(TEXT), "channels-first"), feed)
    np.testing.assert_allclose(found, run(plain, feed)[0], rtol=0, atol=1e-5)


def test_the_operator_form_leaves_it(
    graph: Parse, expand: Rewrite, counts: Callable[[ir.Model], dict[str, int]]
) -> None:
    """OpenVINO reads the standard operator."""
    assert counts(expand(graph(TEXT), "operator")) == {"Attention": 1}


def test_a_width_that_nobody_knows_stays_an_operator(
    graph: Parse, expand: Rewrite, counts: Callable[[ir.Model], dict[str, int]]
) -> None:
    """Heads cannot be told apart without it."""
    text = TEXT.replace("float[b,s,8] q", "float[b,s,e] q").replace(
        "float[b,s,8] k", "float[b,s,e] k"
    )
    assert counts(expand(graph(text), "channels-first")) == {"Attention": 1}
