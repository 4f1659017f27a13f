"""Gradients say how much the outputs move when a unit is turned down."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("torch")

from edgecompile.export import read_model
from edgecompile.plan import FLOAT
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.group import Group
from edgecompile.prune.importance import gradient
from edgecompile.session import answer, session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE

pytestmark = pytest.mark.exporters
STEP = 1e-2


def _turned_down(model: ir.Model, group: Group, unit: int) -> ir.Model:
    model = model.clone()
    for name in group.readers:
        value = model.graph.initializers[name]
        assert value.const_value is not None
        rows = value.const_value.numpy().copy()
        rows[unit * group.block : (unit + 1) * group.block] *= 1 - STEP
        value.const_value = ir.Tensor(rows)
    return model


def test_scores_are_squared_differences(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each unit of each group, turned down by a hundredth in onnxruntime, moves the outputs so.

    The score is a mean over drawn signs: with many of them it is near.
    """
    monkeypatch.setattr(gradient, "DRAWS", 64)
    model = read_model.export(read_model.find_source(checkpoint()))
    random = np.random.default_rng(0)
    feed = {
        "input_ids": random.integers(5, 100, (1, 6)),
        "attention_mask": np.array([[1, 1, 1, 1, 1, 0]]),
        "token_type_ids": np.zeros((1, 6), np.int64),
    }
    groups = find_groups(model).found
    scores = gradient.observe(model, groups, [feed])
    (dense, *_) = answer(session(lower(model, FLOAT, REFERENCE)), [feed])[0]
    for group in groups:
        moved = []
        for unit in range(group.units):
            down = lower(_turned_down(model, group, unit), FLOAT, REFERENCE)
            (given, *_) = answer(session(down), [feed])[0]
            moved.append(np.square((given - dense)[:, :5] / STEP).sum())
        assert scores[group.name].shape == (group.units,)
        assert np.corrcoef(scores[group.name], moved)[0, 1] > 0.9
        assert scores[group.name].sum() == pytest.approx(sum(moved), rel=0.25)
