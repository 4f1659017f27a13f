"""The ladder's search, and what it measures on a real graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import pipeline, target
from edgecompile.errors import ModelError
from edgecompile.export.read_model import find_source
from edgecompile.inspect_model import inspect_sensitivity
from edgecompile.ladder import climb, measure_ladder
from edgecompile.plan import Activation, Plan
from edgecompile.quantize.order_moves import TABLES, Move
from edgecompile.recipe import Recipe

Parse = Callable[..., ir.Model]


def chain(graph: Parse, count: int) -> ir.Model:
    """Return a graph of `count` Linears, one after the other."""
    names = [f"t{n}" for n in range(count)]
    body = " ".join(f"{y} = MatMul({x}, w{x})" for x, y in zip(["x", *names], names, strict=False))
    numbers: dict[str, Any] = {f"w{x}": np.eye(8, dtype="f4") for x in ["x", *names[:-1]]}
    return graph(f"(float[b,s,8] x) => (float[b,s,8] {names[-1]}) {{ {body} }}", **numbers)


@pytest.mark.parametrize("needed", range(1, 12))
def test_the_fewest_moves_are_found(graph: Parse, needed: int) -> None:
    """Whatever their number, and with few tries."""
    model = chain(graph, 11)
    ones = np.ones(8, np.float32)
    names = ["x", *(f"t{n}" for n in range(10))]
    plan = Plan({name: Activation(-1.0, 1.0, ones, ones, 0.5) for name in names})
    moves = [Move(name, "float", 0.1, 0.1, 1.0) for name in names]
    tried = []

    def passes(raised: Plan) -> bool:
        tried.append(len(raised.kept_float))
        return len(raised.kept_float) >= needed

    reached = climb(model, plan, moves, passes)
    assert reached is not None
    raised, count = reached
    assert count == len(raised.kept_float) == needed
    assert len(tried) <= 8


def test_all_moves_may_not_suffice(graph: Parse) -> None:
    """Then there is no plan to ship."""
    ones = np.ones(8, np.float32)
    plan = Plan({"x": Activation(-1.0, 1.0, ones, ones, 0.5)})
    moves = [Move("x", "float", 0.1, 0.1, 1.0)]
    assert climb(chain(graph, 1), plan, moves, lambda _: False) is None


def test_the_damaged_layer_is_the_most_sensitive(checkpoint: Callable[..., Path]) -> None:
    """A range that saturates nearly all of one tensor shows as that tensor's loss."""
    from dataclasses import replace

    prepared = pipeline.prepare(find_source(checkpoint()), Recipe(), pipeline.Trace())
    board = target.load("x86-64")
    name = max(prepared.plan.activations)
    hurt = dict(prepared.plan.activations)
    hurt[name] = replace(hurt[name], low=-1e-3, high=1e-3)
    plan = replace(prepared.plan, activations=hurt)
    feeds = list(prepared.data.calibration)[:4]
    found = measure_ladder(prepared.model, plan, board, ("dynamic",), feeds, pipeline.lower)
    assert next(iter(found.lost)) == name
    assert found.moves[0] == Move(
        name, "dynamic", found.lost[name]["int8"], found.moves[0].gain, found.moves[0].cost_ms
    )
    assert found.lost[name]["dynamic"] < found.lost[name]["int8"] / 10
    assert found.moves[-1].tensor == TABLES
    assert {r for row in found.ms.values() for r in row} == {"int8", "dynamic", "float"}


def test_sensitivity_lists_every_linear_once(checkpoint: Callable[..., Path]) -> None:
    """Worst first, tables included."""
    rows = inspect_sensitivity(checkpoint(), "aarch64", lambda _stage, _what: None)
    lost = [row["lost_r2"]["int8"] for row in rows]
    assert lost == sorted(lost, reverse=True)
    layers = [name for row in rows for name in row["linears"]]
    assert len(layers) == len(set(layers)) == 13  # 2 layers of 6, and the tables
    assert TABLES in layers


def test_sensitivity_is_a_float_models(tmp_path: Path) -> None:
    """A bundle has lost what would have to be measured."""
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ModelError, match="is a bundle; give the float model"):
        inspect_sensitivity(tmp_path, "x86-64", lambda _stage, _what: None)
