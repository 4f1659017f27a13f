"""The forms for Core ML and ExecuTorch: float as before, and int8 weights in standard operators."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import engines, prepare, stages
from edgecompile.data.fit_feed import fit_feed
from edgecompile.evaluate.accuracy import cosine
from edgecompile.export.read_model import find_source
from edgecompile.graph import linears, sizes, weight_array
from edgecompile.plan import FLOAT
from edgecompile.recipe import CalibrationTable, Recipe, ShapesTable
from edgecompile.session import answer, session
from edgecompile.target import Target, load
from edgecompile.trace import Trace

LENGTH = 32
RECIPE = Recipe(shapes=ShapesTable((1, LENGTH)), calibration=CalibrationTable(samples=16))
TARGETS = ["iphone", "android-executorch"]


def prepared_of(folder: Path) -> prepare.Prepared:
    """Prepare a model as a build does."""
    return prepare.prepare(find_source(folder), RECIPE, Trace())


def board_of(name: str) -> Target:
    """Return a target as a build sets it."""
    return engines.fit_lengths(load(name), RECIPE, LENGTH)


def ask(model: ir.Model, prepared: prepare.Prepared, target: str) -> list[list[np.ndarray]]:
    """Return what a lowered graph answers to some golden samples, padded where shapes are fixed."""
    golden = prepared.data.golden[:8]
    fixed = target == "iphone"
    return answer(session(model), [fit_feed(f, model, LENGTH) if fixed else f for f in golden])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_the_float_form_computes_the_same(
    family: str, target: str, checkpoint: Callable[..., Path]
) -> None:
    """Attention is written out; Core ML's shapes are numbers, ExecuTorch's length is open."""
    prepared = prepared_of(checkpoint(family, sentence_transformers=True))
    lowered = stages.lower(prepared.model, FLOAT, board_of(target))
    kinds = {node.op_type for node in lowered.graph}
    assert not kinds & {"Attention", "DequantizeLinear"}
    if target == "iphone":
        assert all(sizes(value) == [1, LENGTH] for value in lowered.graph.inputs)
        assert "Shape" not in kinds
    for (ours,), (truth,) in zip(ask(lowered, prepared, target), prepared.expected, strict=False):
        np.testing.assert_allclose(ours, truth, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_weights_are_int8_with_scales_that_16_bits_hold(
    target: str, checkpoint: Callable[..., Path]
) -> None:
    """Every Linear and the word table; answers stay near, and no activation is rounded here."""
    prepared = prepared_of(checkpoint(sentence_transformers=True, vocab_size=200))
    lowered = stages.lower(prepared.model, prepared.plan, board_of(target))
    rounded = [node for node in lowered.graph if node.op_type == "DequantizeLinear"]
    every = len(list(linears(prepared.model.graph)))
    assert len(rounded) == every + 1
    assert not list(linears(lowered.graph))  # no weight is left in float
    for node in rounded:
        q, scale = (weight_array(value) for value in node.inputs[:2] if value is not None)
        assert q.dtype == np.int8
        assert (scale == scale.astype(np.float16)).all()
        assert np.abs(q).max() <= 127
    assert "QuantizeLinear" not in {node.op_type for node in lowered.graph}
    found = zip(ask(lowered, prepared, target), prepared.expected, strict=False)
    assert np.mean([cosine(ours, truth, None) for (ours,), (truth,) in found]) > 0.999


@pytest.mark.parametrize("target", TARGETS)
def test_a_layer_that_the_plan_keeps_stays_float(
    target: str, checkpoint: Callable[..., Path]
) -> None:
    """It reads its own weight; the others are rounded."""
    prepared = prepared_of(checkpoint())
    name = next(linears(prepared.model.graph)).name
    plan = replace(prepared.plan, kept_float={name: "told so"})
    lowered = stages.lower(prepared.model, plan, board_of(target))
    assert [linear.name for linear in linears(lowered.graph)] == [name]


def test_a_shared_weight_is_stored_once(checkpoint: Callable[..., Path]) -> None:
    """Two Linears of one weight read one DequantizeLinear."""
    prepared = prepared_of(checkpoint())
    model = prepared.model.clone()
    first, second, *_ = linears(model.graph)
    second.matmul.replace_input_with(1, first.weight)
    lowered = stages.lower(model, prepared.plan, board_of("iphone"))
    count = sum(node.op_type == "DequantizeLinear" for node in lowered.graph)
    assert count == len(list(linears(model.graph))) - 1 + 1 * _has_table(lowered)


def _has_table(lowered: ir.Model) -> bool:
    gathers = [node for node in lowered.graph if node.op_type == "Gather"]
    makers = [value.producer() for node in gathers for value in node.inputs if value is not None]
    return any(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)
