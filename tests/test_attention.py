"""The canonical attention: its attributes, its padding bias, its formula in numpy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.attention import MASKED, attend, bias_of, heads_of, padding_bias, scale_of

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Run = Callable[..., list[Array]]

NO_BIAS = np.zeros((1, 1, 1, 1), np.float32)


def normal(*shape: int, seed: int = 0) -> Array:
    """Return random numbers in float64."""
    return np.random.default_rng(seed).normal(size=shape)


def query_by_query(qkv: list[Array], bias: Array, heads: int, scale: float) -> Array:
    """Compute attention as a loop over sequences, heads and queries."""
    q, k, v = qkv
    batch, length, width = q.shape
    size = width // heads
    added = np.broadcast_to(bias, (batch, heads, length, k.shape[1]))
    y = np.zeros_like(v[:, :1]).repeat(length, axis=1)
    for b, head, s in np.ndindex(batch, heads, length):
        part = slice(head * size, (head + 1) * size)
        scores = [scale * np.dot(q[b, s, part], row) for row in k[b, :, part]] + added[b, head, s]
        p = np.exp(scores - np.max(scores))
        y[b, s, part] = p / p.sum() @ v[b, :, part]
    return y


# ------------------------------------------------------------------ attributes


@pytest.mark.parametrize(("inputs", "bias"), [("x, x, x", None), ("x, x, x, extra", "extra")])
def test_heads_scale_and_bias_are_read_from_the_operator(
    graph: Parse, inputs: str, bias: str | None
) -> None:
    """What the canonical Attention states."""
    text = f"""(float[b,s,8] x, float[b,1,s,s] extra) => (float[b,s,8] y)
        {{ y = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.25>({inputs}) }}"""
    (node,) = graph(text).graph
    assert (heads_of(node), scale_of(node)) == (2, 0.25)
    found = bias_of(node)
    assert (found.name if found is not None else None) == bias


# ------------------------------------------------------------------ padding bias


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool", "float"])
def test_the_padding_bias_is_0_for_tokens_and_large_for_padding(
    graph: Parse, run: Run, dtype: str
) -> None:
    """[B, S] of 0 and 1, of any type, becomes [B, 1, 1, S] of MASKED and 0."""
    model = graph(f"({dtype}[b,s] mask) => (float[b,o,p,s] y) {{ y = Identity(bias) }}")
    nodes = padding_bias(model.graph, model.graph.inputs[0])
    model.graph.insert_before(model.graph[0], nodes)
    model.graph[-1].replace_input_with(0, nodes[-1].outputs[0])
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    types = {"float": np.float32}
    (bias,) = run(model, {"mask": mask.astype(types.get(dtype, dtype))})
    np.testing.assert_array_equal(bias, np.where(mask, 0, MASKED)[:, None, None, :])


def test_names_of_its_nodes_are_told(graph: Parse) -> None:
    """Each tensor is called like its node, for reports and dumps."""
    model = graph("(int64[b,s] mask) => (int64[b,s] y) { y = Neg(mask) }")
    nodes = padding_bias(model.graph, model.graph.inputs[0])
    assert [n.name for n in nodes] == ["mask.float", "mask.padded", "mask.bias_2d", "mask.bias"]
    assert all(n.outputs[0].name == n.name for n in nodes)


# ------------------------------------------------------------------ formula


@given(
    batch=st.integers(1, 3),
    sequence=st.integers(1, 9),
    heads=st.sampled_from([1, 2, 4]),
    scale=st.floats(0.01, 2),
)
def test_attend_is_the_loop(batch: int, sequence: int, heads: int, scale: float) -> None:
    """The vectorised formula is softmax(scale q k + bias) v, head by head."""
    qkv = [normal(batch, sequence, 8, seed=n) for n in range(3)]
    bias = normal(batch, heads, sequence, sequence, seed=3)
    np.testing.assert_allclose(
        attend(qkv, bias, heads, scale), query_by_query(qkv, bias, heads, scale), atol=1e-12
    )


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 1, 5), (1, 1, 5, 5), (2, 4, 5, 5)])
def test_the_bias_broadcasts(shape: tuple[int, ...]) -> None:
    """Over batch, heads and queries."""
    qkv, bias = [normal(2, 5, 8, seed=n) for n in range(3)], normal(*shape, seed=3)
    np.testing.assert_allclose(
        attend(qkv, bias, 4, 0.5), query_by_query(qkv, bias, 4, 0.5), atol=1e-12
    )


def test_keys_may_be_of_another_length() -> None:
    """Cross attention has as many keys as values, not as queries."""
    qkv = [normal(2, 3, 8), normal(2, 6, 8, seed=1), normal(2, 6, 8, seed=2)]
    np.testing.assert_allclose(
        attend(qkv, NO_BIAS, 2, 0.5), query_by_query(qkv, NO_BIAS, 2, 0.5), atol=1e-12
    )


def test_padding_has_no_influence() -> None:
    """Whatever stands in a masked token, the others' result is the same."""
    qkv = [normal(1, 5, 8, seed=n) for n in range(3)]
    bias = np.array([0, 0, 0, MASKED, MASKED])[None, None, None]
    other = [np.concatenate([x[:, :3], x[:, 3:] * 50 - 7], axis=1) for x in qkv]
    alone = [x[:, :3] for x in qkv]
    y = attend(qkv, bias, 2, 0.5)[:, :3]
    np.testing.assert_array_equal(attend(other, bias, 2, 0.5)[:, :3], y)
    np.testing.assert_allclose(attend(alone, NO_BIAS, 2, 0.5), y, atol=1e-12)


def test_a_sequence_of_padding_alone_is_finite() -> None:
    """MASKED is finite on purpose: nothing valid gives the same weights as no mask, not NaN."""
    qkv = [normal(1, 5, 8, seed=n) for n in range(3)]
    bias = np.full((1, 1, 1, 5), MASKED)
    np.testing.assert_allclose(attend(qkv, bias, 2, 0.5), attend(qkv, NO_BIAS, 2, 0.5), atol=1e-9)


def test_large_scores_do_not_overflow() -> None:
    """The largest score is taken off before exp."""
    qkv = [normal(1, 3, 8, seed=n).astype(np.float32) * 100 for n in range(3)]
    assert np.isfinite(attend(qkv, NO_BIAS, 2, 1.0)).all()
