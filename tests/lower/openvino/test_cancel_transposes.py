"""Transposes that undo each other go, whatever stands between works on each number alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.facts import ATTENTION_LOWERED, INT8

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

SWAP = "Transpose<perm = [0, 2, 1]>"
FEED = {"x": np.random.default_rng(33).normal(size=(2, 8, 5)).astype(np.float32)}
FACTORS = np.random.default_rng(34).normal(size=8).astype(np.float32)
MIDDLES = {
    "nothing": "m = Identity(a)",
    "gelu": "m = Gelu(a)",
    "factors": "m = Mul(a, factors)",
    "a number": "m = Mul(a, two)",
    "a factor before": "m = Sub(factors, a)",
    "int8": "q = QuantizeLinear(a, step, zero) m = DequantizeLinear(q, step, zero)",
    "all": "g = Gelu(a) e = Mul(g, factors) q = QuantizeLinear(e, step, zero)"
    " m = DequantizeLinear(q, step, zero)",
}
ARRAYS = {"factors": FACTORS, "two": np.float32(2), "step": np.float32(0.5), "zero": np.uint8(7)}
ARRAYS |= {"square": np.eye(8, dtype=np.float32)[::-1].copy()}


@pytest.fixture(scope="session")
def cancel(rewrite: Rewrite, equal: Callable[..., None]) -> Callable[[ir.Model], ir.Model]:
    """Return a function that runs the pass, which must not change the outputs."""

    def apply(model: ir.Model) -> ir.Model:
        model.metadata_props.update({ATTENTION_LOWERED: "yes", INT8: "yes"})
        after = rewrite("lower/openvino", model, "cancel-transposes")
        equal(model, after, FEED)
        return after

    return apply


def body(middle: str) -> str:
    """Return a graph of two Transposes with something between."""
    last = "a" if "Identity" in middle else "m"
    text = middle if last == "m" else ""
    return f"""(float[b,8,s] x) => (float[b,8,s] y)
        {{ c = Abs(x) a = {SWAP}(c) {text} t = {SWAP}({last}) y = Neg(t) }}"""


@pytest.mark.parametrize("middle", MIDDLES.values(), ids=MIDDLES)
def test_two_transposes_cancel(graph: Parse, cancel: Rewrite, counts: Counts, middle: str) -> None:
    """The same numbers, no Transpose."""
    assert "Transpose" not in counts(cancel(graph(body(middle), **ARRAYS)))


@pytest.mark.parametrize("middle", ["m = Softmax(a)", "m = MatMul(a, square)"])
def test_what_mixes_numbers_stays_where_it_is(
    graph: Parse, cancel: Rewrite, counts: Counts, middle: str
) -> None:
    """A Softmax over channels is not one over tokens."""
    assert counts(cancel(graph(body(middle), **ARRAYS)))["Transpose"] == 2


def test_other_readers_keep_their_transpose(graph: Parse, cancel: Rewrite, counts: Counts) -> None:
    """One reader turns back, another wants it turned: only the first loses its Transpose."""
    text = f"""(float[b,8,s] x) => (float[b,8,s] y, float[b,s,8] z)
        {{ c = Abs(x) a = {SWAP}(c) t = {SWAP}(a) y = Neg(t) z = Softmax(a) }}"""
    assert counts(cancel(graph(text)))["Transpose"] == 1


def test_an_output_of_the_model_keeps_its_name(
    graph: Parse, cancel: Rewrite, counts: Counts
) -> None:
    """Where the turned tensor is an output itself, it stays."""
    text = f"""(float[b,8,s] x) => (float[b,s,8] y, float[b,8,s] z)
        {{ c = Abs(x) y = {SWAP}(c) z = {SWAP}(y) }}"""
    assert counts(cancel(graph(text)))["Transpose"] == 2
