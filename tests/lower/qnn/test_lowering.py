"""The form for Qualcomm's HTP: fixed shapes, tokens flat, and the same numbers as before."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import engines, prepare, stages
from edgecompile.data.dataset import Dataset
from edgecompile.data.fit_feed import fit_feed
from edgecompile.evaluate.accuracy import cosine
from edgecompile.export.read_model import find_source
from edgecompile.graph import sizes
from edgecompile.lower.qnn.split_tables import column_factors
from edgecompile.plan import FLOAT
from edgecompile.recipe import CalibrationTable, Recipe, ShapesTable
from edgecompile.session import answer, session
from edgecompile.target import Target, load
from edgecompile.trace import Trace

LENGTH = 32
RECIPE = Recipe(shapes=ShapesTable((1, LENGTH)), calibration=CalibrationTable(samples=16))


def prepared_of(folder: Path) -> prepare.Prepared:
    """Prepare a model as a build does."""
    return prepare.prepare(find_source(folder), RECIPE, Trace(), outputs=True)


def board_of(profile: str = "accurate") -> Target:
    """Return a target as a build sets it."""
    wishes = replace(RECIPE, quantize=replace(RECIPE.quantize, profile=profile))
    return engines.fit_lengths(load("snapdragon-8-elite"), wishes, LENGTH)


def ask(model: ir.Model, data: Dataset) -> list[list[np.ndarray]]:
    """Return what a lowered graph answers to some golden samples."""
    feeds = [fit_feed(feed, model, LENGTH) for feed in data.golden[:8]]
    return answer(session(model, optimise=False), feeds)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_the_float_form_computes_the_same(family: str, checkpoint: Callable[..., Path]) -> None:
    """Shapes are numbers, each Linear is one Gemm over [tokens, C], padding changes nothing."""
    prepared = prepared_of(checkpoint(family, sentence_transformers=True))
    lowered = stages.lower(prepared.model, FLOAT, board_of())
    assert all(sizes(value) == [1, LENGTH] for value in lowered.graph.inputs)
    gemms = [node for node in lowered.graph if node.op_type == "Gemm"]
    assert len(gemms) == 2 * 6
    assert all(len(sizes(node.outputs[0])) == 2 for node in gemms)
    kinds = {node.op_type for node in lowered.graph}
    assert not kinds & {"Attention", "Shape", "Cast", "ReduceL2"}
    for (ours,), (truth,) in zip(ask(lowered, prepared.data), prepared.expected, strict=False):
        np.testing.assert_allclose(ours, truth, atol=1e-5)


@pytest.mark.parametrize(("profile", "least"), [("accurate", 0.9999), ("fast", 0.999)])
def test_every_tensor_is_rounded_and_the_answers_are_near(
    profile: str, least: float, checkpoint: Callable[..., Path]
) -> None:
    """No operator reads or gives a float that is not on a grid; weights are int8."""
    prepared, board = prepared_of(checkpoint(sentence_transformers=True)), board_of(profile)
    data = prepared.data
    plan = engines.observe(prepared.plan, board, prepared.model, data.calibration)
    lowered = stages.lower(prepared.model, plan, board)
    for node in lowered.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for user in node.outputs[0].consumers():
            assert user.op_type == "QuantizeLinear", node.name
        for value in node.inputs:
            if value is not None and value.is_initializer():
                assert value.dtype == ir.DataType.INT64, value.name
    types = [node.inputs[2].dtype for node in lowered.graph if node.op_type == "QuantizeLinear"]
    narrow = types.count(ir.DataType.UINT8)  # the looked-up rows always are
    assert narrow > 10 if profile == "fast" else narrow == 1
    found = zip(ask(lowered, data), prepared.expected, strict=False)
    assert np.mean([cosine(ours, truth, None) for (ours,), (truth,) in found]) > least


def test_lowering_twice_gives_the_same_names(checkpoint: Callable[..., Path]) -> None:
    """Ranges are observed on one lowering and used by the next: by name."""
    prepared = prepared_of(checkpoint())
    first, second = (stages.lower(prepared.model, prepared.plan, board_of()) for _ in range(2))
    names = [[str(v.name) for node in m.graph for v in node.outputs] for m in (first, second)]
    assert names[0] == names[1]


def test_columns_of_a_table_get_one_range() -> None:
    """T is exact in 16 bits; the table over t is as wide in each column."""
    table = np.random.default_rng(0).normal(size=(100, 8)) * np.logspace(0, 2, 8)
    t = column_factors(table)
    step = t.max() / 65535
    np.testing.assert_allclose(t / step, np.rint(t / step), atol=0.01)
    peaks = np.abs(table / t).max(axis=0)
    assert peaks.max() / peaks.min() < 1.01
