"""Layer errors: which Linear loses most in int8, and how much."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import target
from edgecompile.evaluate.layer_errors import layer_errors
from edgecompile.graph import add_initializer, weight_array
from edgecompile.plan import Activation, Plan, affine

WIDTH = 16
NAMES = ("first", "second", "third")


def model() -> ir.Model:
    """Return three Linears in a row: x -> first -> second -> third."""
    random = np.random.default_rng(1)
    x = ir.val("x", ir.DataType.FLOAT, ["batch", "sequence", WIDTH])
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 20}, name="model")
    value = x
    for name in NAMES:
        array = (random.normal(size=(WIDTH, WIDTH)) / 4).astype(np.float32)
        weight = add_initializer(graph, f"{name}.weight", array)
        node = ir.node("MatMul", [value, weight], name=name)
        value = node.outputs[0]
        value.name = f"{name}.y"
        graph.append(node)
    value.type = ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.append(value)
    return ir.Model(graph, ir_version=10)


def activation(low: float = -8, high: float = 8, smoothing: np.ndarray | None = None) -> Activation:
    """Return an activation of this range."""
    s = np.ones(WIDTH, np.float32) if smoothing is None else smoothing
    return Activation(low, high, s, np.zeros(WIDTH, np.float32), 0.5)


def set_weight(model: ir.Model, name: str, place: Any, number: float) -> None:
    """Replace part of a Linear's weight [in, out]."""
    value = model.graph.initializers[f"{name}.weight"]
    array = weight_array(value).copy()
    array[place] = number
    value.const_value = ir.Tensor(array, name=value.name)


READS = {"first": "x", "second": "first.y", "third": "second.y"}
BOARD = replace(target.REFERENCE, weight="int8")
FEEDS = [
    {"x": np.random.default_rng(seed).normal(size=(1, 5, WIDTH)).astype(np.float32)}
    for seed in range(2)
]


def plan(**changes: Activation) -> Plan:
    """Return a plan for all three Linears, with some activations changed."""
    return Plan({READS[name]: changes.get(name, activation()) for name in NAMES})


@pytest.mark.parametrize("bad", NAMES)
def test_bad_range_is_named_first(bad: str) -> None:
    """A layer whose range is far too wide comes first, with an error far above the others'."""
    errors = layer_errors(model(), plan(**{bad: activation(-500, 500)}), BOARD, FEEDS)
    worst, *others = errors
    assert worst == bad
    assert errors[worst] > 10 * max(errors[name] for name in others)
    assert set(errors) == set(NAMES)
    assert list(errors.values()) == sorted(errors.values(), reverse=True)


@pytest.mark.parametrize("bad", NAMES)
def test_bad_weight_is_named_first(bad: str) -> None:
    """A layer with a giant weight in each column, for an input of 0, loses all other weights."""
    broken = model()
    set_weight(broken, bad, np.s_[0], 400)
    if bad != "first":
        set_weight(broken, NAMES[NAMES.index(bad) - 1], np.s_[:, 0], 0)
    rest = (np.arange(WIDTH) > 0).astype(np.float32)
    feeds = [{"x": feed["x"] * (rest if bad == "first" else 1)} for feed in FEEDS]
    errors = layer_errors(broken, plan(), BOARD, feeds)
    assert next(iter(errors)) == bad
    assert errors[bad] == pytest.approx(1, rel=0.01)


def test_error_is_relative_to_the_layers_output() -> None:
    """The error is ||int8(x) - float(x)|| / ||float(x)|| over all samples, as numpy computes it."""
    m = model()
    errors = layer_errors(m, plan(), BOARD, FEEDS)
    w = weight_array(m.graph.initializers["first.weight"]).astype(np.float64)
    scale, zero = affine(-8, 8)
    step = np.abs(w).max(axis=0) / 127
    wq = np.rint(w / step) * step
    x = np.concatenate([feed["x"][0] for feed in FEEDS]).astype(np.float64)
    xq = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale
    lost = np.linalg.norm(xq @ wq - x @ w) / np.linalg.norm(x @ w)
    assert errors["first"] == pytest.approx(lost, rel=1e-3)


def test_equalising_factors_are_applied() -> None:
    """Factors that take an outlier out of the activation make the layer's error smaller."""
    spread = np.ones(WIDTH, np.float32)
    spread[3] = 100
    feeds = [{"x": feed["x"] * spread} for feed in FEEDS]
    plain = layer_errors(model(), plan(first=activation(-300, 300)), BOARD, feeds)
    equal = layer_errors(model(), plan(first=activation(-30, 30, np.sqrt(spread))), BOARD, feeds)
    assert equal["first"] < plain["first"] / 2


def test_weights_are_rounded_as_the_target_wants() -> None:
    """A target that keeps weights in pairs has coarser steps, and so a larger error."""
    pairs = replace(BOARD, weight="int8-pairs")
    fine, coarse = (layer_errors(model(), plan(), board, FEEDS) for board in (BOARD, pairs))
    assert all(coarse[name] > fine[name] for name in NAMES)


def test_layers_that_stay_float_are_left_out() -> None:
    """Only what becomes int8 is measured: neither kept layers nor those without a range."""
    full = plan()
    kept = Plan(full.activations, {"second": "a reason"})
    assert set(layer_errors(model(), kept, BOARD, FEEDS)) == {"first", "third"}
    fewer = Plan({"x": activation()})
    assert set(layer_errors(model(), fewer, BOARD, FEEDS)) == {"first"}
