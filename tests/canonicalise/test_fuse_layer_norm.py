"""LayerNormalization in the ways that exporters write it, and what only looks like it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.export.onnx_file import tidy

Parse = Callable[..., ir.Model]
Canonicalise = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

WIDTH = 8
RANDOM = np.random.default_rng(2)
NUMBERS: dict[str, Any] = {
    "two": np.float32(2),
    "one": np.float32(1),
    "eps": np.float32(1e-5),
    "eps1": np.array([1e-5], np.float32),
    "scale": RANDOM.normal(size=WIDTH).astype(np.float32),
    "bias": RANDOM.normal(size=WIDTH).astype(np.float32),
    "last": np.array([-1]),
    "third": np.array([2]),
    "second": np.array([1]),
    "both": np.array([-2, -1]),
}

START = "m = ReduceMean(x, last) c = Sub(x, m) "
AFFINE = " g = Mul(n, scale) y = Add(g, bias)"
FORMS = {
    "power": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)"
    " n = Div(c, r)" + AFFINE,
    "square": START + "p = Mul(c, c) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)"
    " n = Div(c, r)" + AFFINE,
    "two differences": START + "d = Sub(x, m) p = Pow(d, two) v = ReduceMean(p, last)"
    " e = Add(v, eps) r = Sqrt(e) n = Div(c, r)" + AFFINE,
    "reciprocal": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(eps, v) r = Sqrt(e)"
    " i = Reciprocal(r) n = Mul(c, i)" + AFFINE,
    "one over": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)"
    " i = Div(one, r) n = Mul(c, i)" + AFFINE,
    "positive axis": "m = ReduceMean(x, third) c = Sub(x, m) p = Pow(c, two)"
    " v = ReduceMean(p, third) e = Add(v, eps) r = Sqrt(e) n = Div(c, r)" + AFFINE,
    "epsilon of rank 1": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps1)"
    " r = Sqrt(e) n = Div(c, r)" + AFFINE,
    "swapped affine": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps)"
    " r = Sqrt(e) n = Div(c, r) g = Mul(scale, n) y = Add(bias, g)",
    "no affine": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)"
    " y = Div(c, r)",
    "scale alone": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)"
    " n = Div(c, r) y = Mul(n, scale)",
    "bias alone": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)"
    " n = Div(c, r) y = Add(n, bias)",
    "no epsilon": START
    + "p = Pow(c, two) v = ReduceMean(p, last) r = Sqrt(v) n = Div(c, r)"
    + AFFINE,
}
OPSET_13 = {
    "power": FORMS["power"],
    "square": FORMS["square"],
    "two differences": FORMS["two differences"],
    "reciprocal": FORMS["reciprocal"],
}
OTHERS = {
    "over the tokens": FORMS["power"].replace("last", "second"),
    "over tokens and channels": FORMS["power"].replace("last", "both"),
    "variance over the tokens": FORMS["power"].replace("(p, last)", "(p, second)"),
    "RMS": "p = Pow(x, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e) n = Div(x, r)"
    + AFFINE,
    "no root": START
    + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps) n = Div(c, e)"
    + AFFINE,
    "mean absolute": START
    + "p = Abs(c) v = ReduceMean(p, last) e = Add(v, eps) n = Div(c, e)"
    + AFFINE,
    "not centred": START + "p = Pow(c, two) v = ReduceMean(p, last) e = Add(v, eps) r = Sqrt(e)"
    " n = Div(x, r)" + AFFINE,
    "centred alone": START + "y = Mul(c, scale)",
}


def body(form: str) -> str:
    """Put a form between two other operators."""
    return f"(float[b,s,8] in) => (float[b,s,8] out) {{ x = Sin(in) {form} out = Neg(y) }}"


def feed(batch: int = 2, sequence: int = 7, size: float = 3) -> dict[str, Any]:
    """Return a random input."""
    x = np.random.default_rng(1).normal(size=(batch, sequence, WIDTH)) * size
    return {"in": x.astype(np.float32)}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_becomes_layer_normalization(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """Whatever its operators, and with or without scale and bias, it is one operator after."""
    after = canonicalise("fuse-layer-norm", graph(body(form), **NUMBERS), feed())
    assert counts(after) == {"LayerNormalization": 1, "Neg": 1, "Sin": 1}
    (node,) = (node for node in after.graph if node.op_type == "LayerNormalization")
    epsilon = 1e-5 if "eps" in form else 0.0
    assert node.attributes["epsilon"].as_float() == pytest.approx(epsilon)
    assert node.attributes["axis"].as_int() == -1


@pytest.mark.parametrize("form", OPSET_13.values(), ids=OPSET_13)
def test_the_forms_of_opset_13_are_recognised(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """Before opset 17 there was no operator, and the axes of a mean were an attribute."""
    form = form.replace("ReduceMean", "ReduceMean<axes = [-1]>").replace(", last)", ")")
    before = tidy(graph(body(form), opset=13, **NUMBERS), Path("model.onnx"))
    after = canonicalise("fuse-layer-norm", before, feed())
    assert counts(after) == {"LayerNormalization": 1, "Neg": 1, "Sin": 1}


@pytest.mark.parametrize("form", OTHERS.values(), ids=OTHERS)
def test_what_only_looks_like_it_stays(
    graph: Parse, canonicalise: Canonicalise, counts: Counts, form: str
) -> None:
    """A normalisation of another kind or over another axis is left alone."""
    before = graph(body(form), **NUMBERS)
    assert counts(canonicalise("fuse-layer-norm", before, feed())) == counts(before)


def test_scale_and_bias_are_the_models_own(graph: Parse, canonicalise: Canonicalise) -> None:
    """The vectors of the graph are taken over under their names."""
    after = canonicalise("fuse-layer-norm", graph(body(FORMS["power"]), **NUMBERS), feed())
    (node,) = (node for node in after.graph if node.op_type == "LayerNormalization")
    assert [value.name for value in node.inputs] == ["x", "scale", "bias"]


def test_a_scale_of_one_number_is_kept(graph: Parse, canonicalise: Canonicalise) -> None:
    """A product with one number is computed, inside the operator or after it."""
    form = FORMS["scale alone"].replace("scale)", "eps1)")
    canonicalise("fuse-layer-norm", graph(body(form), **NUMBERS), feed())


def test_the_same_normalised_value_may_have_two_readers(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Where n is read twice, scale and bias stay outside."""
    text = body(FORMS["power"]).replace("out = Neg(y)", "out = Mul(y, n)")
    after = canonicalise("fuse-layer-norm", graph(text, **NUMBERS), feed())
    assert counts(after) == {"Add": 1, "LayerNormalization": 1, "Mul": 2, "Sin": 1}


def test_two_in_a_row_are_both_found(
    graph: Parse, canonicalise: Canonicalise, counts: Counts
) -> None:
    """Each keeps its own epsilon, though the second begins where the first ends."""
    second = "m2 = ReduceMean(y, last) c2 = Sub(y, m2) p2 = Mul(c2, c2) v2 = ReduceMean(p2, last)"
    second += " e2 = Add(v2, tiny) r2 = Sqrt(e2) z = Div(c2, r2)"
    text = body(f"{FORMS['power']} {second}").replace("Neg(y)", "Neg(z)")
    model = graph(text, tiny=np.float32(1e-12), **NUMBERS)
    after = canonicalise("fuse-layer-norm", model, feed())
    assert counts(after) == {"LayerNormalization": 2, "Neg": 1, "Sin": 1}
    epsilons = [n.attributes["epsilon"].as_float() for n in after.graph if len(n.inputs) == 3]
    assert epsilons == pytest.approx([1e-5, 1e-12])


def test_epsilon_is_the_number_beside_the_variance(
    graph: Parse, canonicalise: Canonicalise
) -> None:
    """Another small number nearby is not taken for it: on a small input the two would differ."""
    form = FORMS["no affine"].replace("y = Div", "n = Div") + " y = Add(n, tiny)"
    model = graph(body(form), tiny=np.float32(1e-12), **NUMBERS)
    canonicalise("fuse-layer-norm", model, feed(size=1e-3))


def test_it_holds_for_all_shapes_and_sizes(
    graph: Parse, canonicalise: Canonicalise, equal: Callable[..., None]
) -> None:
    """Epsilon counts where the input is small, and drops out where it is large."""
    before = graph(body(FORMS["power"]), **NUMBERS)
    after = canonicalise("fuse-layer-norm", before, feed())

    @given(
        batch=st.integers(1, 4), sequence=st.integers(1, 40), size=st.sampled_from([1e-3, 1, 1e3])
    )
    def check(batch: int, sequence: int, size: float) -> None:
        equal(before, after, feed(batch, sequence, size))

    check()
