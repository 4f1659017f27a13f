"""Gelu in the ways that exporters write it, and what only looks like it."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

NUMBERS: dict[str, Any] = {
    "half": np.float32(0.5),
    "one": np.float32(1),
    "two": np.float32(2),
    "three": np.float32(3),
    "root2": np.float32(math.sqrt(2)),
    "inverse": np.float32(1 / math.sqrt(2)),
    "cubic": np.float32(0.044715),
    "inner": np.float32(math.sqrt(2 / math.pi)),
    "quick": np.float32(0.851),
}

ERF = {
    "torch": "a = Div(x, root2) e = Erf(a) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
    "half first": "h = Mul(x, half) a = Div(x, root2) e = Erf(a) p = Add(one, e) y = Mul(h, p)",
    "scaled by a product": "a = Mul(x, inverse) e = Erf(a) p = Add(e, one) m = Mul(p, x)"
    " y = Mul(half, m)",
    "half on the sum": "a = Mul(inverse, x) e = Erf(a) p = Add(e, one) h = Mul(p, half)"
    " y = Mul(x, h)",
    "half twice": "a = Div(x, root2) e = Erf(a) f = Mul(e, half) p = Add(f, half) y = Mul(p, x)",
    "halved by a division": "a = Div(x, root2) e = Erf(a) p = Add(e, one) m = Mul(x, p)"
    " y = Div(m, two)",
}
TANH = {
    "power": "c = Pow(x, three) k = Mul(c, cubic) s = Add(x, k) a = Mul(s, inner) t = Tanh(a)"
    " p = Add(t, one) h = Mul(x, half) y = Mul(h, p)",
    "products": "d = Mul(x, x) c = Mul(d, x) k = Mul(cubic, c) s = Add(k, x) a = Mul(inner, s)"
    " t = Tanh(a) p = Add(one, t) m = Mul(x, p) y = Mul(m, half)",
    "factored": "d = Mul(x, x) k = Mul(d, cubic) q = Add(k, one) i = Mul(x, inner) a = Mul(i, q)"
    " t = Tanh(a) p = Add(t, one) h = Mul(p, half) y = Mul(x, h)",
}
OTHERS = {
    "quick-gelu by tanh": "a = Mul(x, quick) t = Tanh(a) p = Add(t, one) h = Mul(x, half)"
    " y = Mul(h, p)",
    "no root": "e = Erf(x) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
    "no half": "a = Div(x, root2) e = Erf(a) p = Add(e, one) y = Mul(x, p)",
    "minus": "a = Div(x, root2) e = Erf(a) p = Sub(one, e) m = Mul(x, p) y = Mul(m, half)",
    "no cube": "a = Mul(x, inner) t = Tanh(a) p = Add(t, one) m = Mul(x, p) y = Mul(m, half)",
    "plain tanh": "y = Tanh(x)",
    "plain erf": "y = Erf(x)",
    "quick-gelu": "a = Mul(x, quick) b = Mul(a, two) g = Sigmoid(b) y = Mul(x, g)",
}


def body(form: str) -> str:
    """Put a form after something that is not elementwise."""
    return f"(float[b,s,8] input) => (float[b,s,8] output) {{ x = Sin(input) {form} {OUTPUT} }}"


OUTPUT = "output = Neg(y)"


def feed(batch: int = 2, sequence: int = 7) -> dict[str, Any]:
    """Return a random input, wide enough to tell the forms apart."""
    x = np.random.default_rng(1).normal(size=(batch, sequence, 8)) * 3
    return {"input": x.astype(np.float32)}


@pytest.mark.parametrize("form", ERF.values(), ids=ERF)
def test_every_erf_form_becomes_gelu(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """Whatever the order of its operators, an erf Gelu is one Gelu afterwards."""
    after = canonicalise("fuse-gelu", graph(body(form), **NUMBERS), feed())
    assert counts(after) == {"Gelu": 1, "Neg": 1, "Sin": 1}
    (gelu,) = (node for node in after.graph if node.op_type == "Gelu")
    assert "approximate" not in gelu.attributes


@pytest.mark.parametrize("form", TANH.values(), ids=TANH)
def test_every_tanh_form_becomes_the_approximation(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """A tanh Gelu is one Gelu that says so."""
    after = canonicalise("fuse-gelu", graph(body(form), **NUMBERS), feed())
    assert counts(after) == {"Gelu": 1, "Neg": 1, "Sin": 1}
    (gelu,) = (node for node in after.graph if node.op_type == "Gelu")
    assert gelu.attributes["approximate"].as_string() == "tanh"


@pytest.mark.parametrize("form", OTHERS.values(), ids=OTHERS)
def test_what_only_looks_like_gelu_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """A formula that computes something else is left alone, operator by operator."""
    before = graph(body(form), **NUMBERS)
    assert counts(canonicalise("fuse-gelu", before, feed())) == counts(before)


@pytest.mark.parametrize("op_type", ["Tanh", "Erf"])
@pytest.mark.parametrize("size", [1e-3, 1e-5])
def test_small_activations_are_not_taken_for_gelu(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, op_type: str, size: float
) -> None:
    """Near zero everything is linear: a Tanh of tiny numbers is still no Gelu."""
    text = f"""(float[b,s,8] input) => (float[b,s,8] output)
        {{ x = Mul(input, small) y = {op_type}(x) output = Mul(y, large) }}"""
    before = graph(text, small=np.float32(size), large=np.float32(1 / size))
    assert counts(canonicalise("fuse-gelu", before, feed())) == counts(before)


def test_every_gelu_of_a_graph_is_found(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """One after the other, erf and tanh, with a Linear in between."""
    names = r"\b([acdefhkmpsty])\b"
    second = re.sub(names, r"\g<1>2", TANH["power"]).replace("x", "z")
    text = body(f"{ERF['torch']} z = MatMul(y, w) {second}").replace("Neg(y)", "Neg(y2)")
    weight = np.eye(8, dtype=np.float32)[::-1].copy()
    after = canonicalise("fuse-gelu", graph(text, w=weight, **NUMBERS), feed())
    assert counts(after) == {"Gelu": 2, "MatMul": 1, "Neg": 1, "Sin": 1}


def test_a_gelu_may_end_the_graph(graph: Parse, canonicalise: Canonicalise, counts: Counts) -> None:
    """The graph's output keeps its name."""
    text = f"(float[b,s,8] x) => (float[b,s,8] y) {{ {ERF['torch']} }}"
    after = canonicalise("fuse-gelu", graph(text, **NUMBERS), {"x": feed()["input"]})
    assert counts(after) == {"Gelu": 1}


def test_a_part_that_others_read_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Where the erf has another reader, it is still there for it."""
    text = f"""(float[b,s,8] x) => (float[b,s,8] y, float[b,s,8] e) {{ {ERF["torch"]} }}"""
    after = canonicalise("fuse-gelu", graph(text, **NUMBERS), {"x": feed()["input"]})
    assert counts(after) == {"Div": 1, "Erf": 1, "Gelu": 1}


def test_no_operator_is_fused_when_there_is_none(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """A graph without Erf and Tanh comes out as it went in."""
    before = graph(body("y = Relu(x)"), **NUMBERS)
    assert counts(canonicalise("fuse-gelu", before, feed())) == counts(before)


@given(swaps=st.lists(st.booleans(), min_size=5, max_size=5), form=st.sampled_from([*ERF, *TANH]))
def test_the_order_of_operands_is_free(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, swaps: list[bool], form: str
) -> None:
    """Sums and products are recognised with their operands either way round."""
    model = graph(body((ERF | TANH)[form]), **NUMBERS)
    commuting = [node for node in model.graph if node.op_type in ("Add", "Mul")]
    for node, swap in zip(commuting, swaps, strict=False):
        if swap:
            first, second = node.inputs
            node.replace_input_with(0, second)
            node.replace_input_with(1, first)
    after = canonicalise("fuse-gelu", model, feed())
    assert counts(after) == {"Gelu": 1, "Neg": 1, "Sin": 1}


def test_gelu_is_recognised_for_all_shapes(
    graph: Parse, canonicalise: Canonicalise, equal: Callable[..., None]
) -> None:
    """What was seen on the probe's sizes holds for every other one."""
    before = graph(body(ERF["torch"]), **NUMBERS)
    after = canonicalise("fuse-gelu", before, feed())

    @given(batch=st.integers(1, 4), sequence=st.integers(1, 40))
    def check(batch: int, sequence: int) -> None:
        equal(before, after, feed(batch, sequence))

    check()
