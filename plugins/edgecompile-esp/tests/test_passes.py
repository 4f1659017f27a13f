"""What esp_dl's own passes do to a graph."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile import target
from edgecompile.errors import UnsupportedError
from edgecompile.placement import place_of
from edgecompile.plan import FLOAT, Plan

STAGE = "lower/esp_dl"
LINEAR = "(float[4,6] x) => (float[4,5] y) { y = Gemm(x, w, b) }"
DIVIDED = "(float[4,6] x, float[4,1] n) => (float[4,6] y) { m = Clip(n, low) y = Div(x, m) }"


def flat(model: ir.Model, *more: str) -> ir.Model:
    """Mark a graph as what the passes before would leave."""
    for key in ("tokens_are_flat", *more):
        model.metadata_props[key] = "yes"
    return model


def linear(graph: Callable[..., ir.Model], random: np.random.Generator) -> ir.Model:
    """Return a Linear whose columns differ a hundred times."""
    w = random.normal(size=(6, 5)).astype(np.float32) * np.float32(10) ** np.linspace(-1, 1, 5)
    return flat(graph(LINEAR, opset=20, w=w.astype(np.float32), b=np.ones(5, np.float32)))


def test_columns_get_one_range_where_the_chip_has_one_scale(
    graph: Callable[..., ir.Model],
    rewrite: Callable[..., ir.Model],
    run: Callable[..., list[Any]],
    random: np.random.Generator,
) -> None:
    """Of the ESP32-S3; what the graph computes stays."""
    model = linear(graph, random)
    after = rewrite(STAGE, model, "split-columns", target=target.load("esp32-s3"))
    assert [node.op_type for node in after.graph] == ["Gemm", "Mul"]
    weight = after.graph.node(0).inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    peaks = np.abs(weight.const_value.numpy()).max(axis=0)
    np.testing.assert_allclose(peaks, 127 / 128, rtol=0.02)
    x = {"x": random.normal(size=(4, 6)).astype(np.float32)}
    np.testing.assert_allclose(run(after, x)[0], run(model, x)[0], rtol=1e-4, atol=1e-4)
    untouched = rewrite(STAGE, model, "split-columns", target=target.load("esp32-p4"))
    assert [node.op_type for node in untouched.graph] == ["Gemm"]


def test_weights_wait_for_the_ranges(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model], random: np.random.Generator
) -> None:
    """In float the graph is observed; rounded, each scale is a power of two."""
    model = flat(linear(graph, random), "edgecompile_esp.columns_split")
    context = {"target": target.load("esp32-p4")}
    observed = rewrite(STAGE, model, "round-weights", plan=FLOAT, **context)
    assert [node.op_type for node in observed.graph] == ["Gemm"]
    plan = Plan(tensors={"x": (-1.0, 1.0)})
    rounded = rewrite(STAGE, model, "round-weights", plan=plan, **context)
    assert [node.op_type for node in rounded.graph] == ["DequantizeLinear", "Gemm"]
    scale = rounded.graph.node(0).inputs[1]
    assert scale is not None
    assert scale.const_value is not None
    powers = np.log2(scale.const_value.numpy())
    np.testing.assert_array_equal(powers, np.rint(powers))
    assert len(powers) == 5


@given(seed=st.integers(0, 10_000), by_column=st.booleans())
def test_rounding_what_was_rounded_gives_the_same_integers(*, seed: int, by_column: bool) -> None:
    """As esp-ppq does, which is given the product."""
    from edgecompile_esp.scales import round_weight

    random = np.random.default_rng(seed)
    w = (random.normal(size=(16, 3)) * np.exp(random.normal(size=3))).astype(np.float32)
    q, scale = round_weight(w, by_column=by_column)
    again, same = round_weight((q * scale).astype(np.float32), by_column=by_column)
    np.testing.assert_array_equal(again, q)
    np.testing.assert_array_equal(same, scale)
    assert np.abs(q * scale - w).max() <= scale.max()


def test_a_floor_under_a_divisor_goes(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model], counts: Callable[..., Any]
) -> None:
    """A text has a token: it never was 0."""
    model = flat(graph(DIVIDED, opset=20, low=np.float32(1e-9)))
    assert counts(rewrite(STAGE, model, "remove-floors")) == {"Div": 1}


def test_a_clip_that_does_something_is_refused(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model]
) -> None:
    """One line: the chip would compute another one than is simulated."""
    model = flat(graph(DIVIDED, opset=20, low=np.float32(0.5)))
    with pytest.raises(UnsupportedError, match=r"'m' is a Clip, .* choose another target"):
        rewrite(STAGE, model, "remove-floors")


def test_lookups_are_the_hosts(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model]
) -> None:
    """And their sum; from the first operator that computes, all is the chip's.

    Even a Gather, if its indices are constant.
    """
    body = """(int32[1,4] ids) => (float[1,8] y)
    { a = Gather(table, ids) b = Add(a, row) c = LayerNormalization(b, gain)
      y = Gather<axis = 1>(c, first) }"""
    arrays = {"table": np.ones((9, 8), np.float32), "row": np.ones(8, np.float32)}
    arrays["first"] = np.array(0)
    model = graph(body, opset=20, gain=np.ones(8, np.float32), **arrays)
    after = rewrite(STAGE, flat(model, "edgecompile_esp.weights_rounded"), "place-nodes")
    assert [place_of(node) for node in after.graph] == ["embed", "embed", "encoder", "encoder"]


def test_an_operator_without_a_form_is_named(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model]
) -> None:
    """Before any compiler starts."""
    model = graph("(float[4,6] x) => (float[4,6] y) { y = Shrink<lambd = 0.5>(x) }", opset=20)
    marked = flat(model, "edgecompile_esp.weights_rounded")
    with pytest.raises(UnsupportedError, match=r"node 'y' \(Shrink\) has no 16-bit form"):
        rewrite(STAGE, marked, "place-nodes")
