"""The precision ladder: which step comes first, and what each makes of a plan."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.graph import linears
from edgecompile.plan import Activation, Plan, rung_of
from edgecompile.quantize.order_moves import TABLES, Move, only, order_moves, raise_precision

Parse = Callable[..., ir.Model]

MS = {"int8": 1.0, "dynamic": 1.1, "float": 2.0}
NUMBERS: dict[str, Any] = {name: np.eye(8, dtype=np.float32) for name in ("wa", "wb", "wc")}
TEXT = """(float[b,s,8] x) => (float[b,s,8] y) {
    a = MatMul(x, wa) b = MatMul(x, wb) s = Add(a, b) t = Tanh(s) y = MatMul(t, wc) }"""


def activation() -> Activation:
    """Return an activation of 8 channels."""
    ones = np.ones(8, np.float32)
    return Activation(-1.0, 1.0, ones, ones, 0.5)


PLAN = Plan({"x": activation(), "t": activation()}, embeddings="int8")


def steps(moves: list[Move]) -> list[tuple[str, str]]:
    """Return what moves concern."""
    return [(move.tensor, move.rung) for move in moves]


def test_the_most_gain_a_millisecond_comes_first() -> None:
    """Not the largest loss: a layer that costs twice as much must gain twice as much."""
    lost = {"a": {"int8": 0.3}, "b": {"int8": 0.2}}
    ms = {"a": {"int8": 1.0, "float": 5.0}, "b": {"int8": 1.0, "float": 2.0}}
    assert steps(order_moves(lost, ms)) == [("b", "float"), ("a", "float")]


def test_a_dynamic_range_comes_before_float_where_it_helps() -> None:
    """It costs less; the step to float is then judged by what is left."""
    lost = {"a": {"int8": 0.3, "dynamic": 0.01}, "b": {"int8": 0.1}}
    moves = order_moves(lost, {"a": MS, "b": MS})
    assert steps(moves) == [("a", "dynamic"), ("b", "float"), ("a", "float")]
    assert [move.gain for move in moves] == pytest.approx([0.29, 0.1, 0.01])
    assert moves[0].cost_ms == pytest.approx(0.1)


def test_a_dynamic_range_that_does_not_help_is_left_out() -> None:
    """Where the weights lose most, a better range is no rung."""
    lost = {"a": {"int8": 0.3, "dynamic": 0.29}}
    assert steps(order_moves(lost, {"a": MS})) == [("a", "float")]


def test_noise_makes_no_move_free() -> None:
    """A float Linear that was timed faster than its int8 still costs a little."""
    moves = order_moves({"a": {"int8": 0.3}}, {"a": {"int8": 1.0, "float": 0.9}})
    assert moves[0].cost_ms > 0


def test_tables_come_last() -> None:
    """They cost megabytes."""
    lost = {TABLES: {"int8": 0.9}, "a": {"int8": 0.1}}
    assert steps(order_moves(lost, {"a": MS})) == [("a", "float"), (TABLES, "float")]


@pytest.mark.parametrize(("table", "place"), [(0.9, 0), (0.4, 1), (0.1, 2)])
def test_int4_tables_become_int8_by_what_a_byte_gains(table: float, place: int) -> None:
    """That costs no time: all Linears that gain more a byte come before, and no others."""
    lost = {"a": {"int8": 0.3}, "b": {"int8": 0.1}, TABLES: {"int8": table}}
    moves = order_moves(lost, {"a": MS, "b": MS}, {"a": 100.0, "b": 100.0, TABLES: 200.0})
    expected = [("a", "float"), ("b", "float")]
    assert steps(moves) == [*expected[:place], (TABLES, "int8"), *expected[place:]]


def test_moves_raise_the_readers_of_a_tensor(graph: Parse) -> None:
    """All Linears that read it, with the reason; others stay."""
    model = graph(TEXT, **NUMBERS)
    moves = [Move("x", "float", 0.1, 0.1, 1.0), Move("t", "dynamic", 0.2, 0.1, 0.1)]
    raised = raise_precision(model, PLAN, moves)
    rungs = {linear.name: rung_of(raised, linear) for linear in linears(model.graph)}
    assert {name: rung.rung for name, rung in rungs.items()} == {
        "wa": "float",
        "wb": "float",
        "wc": "dynamic",
    }
    assert "loses 1.0e-01 of the output's R²" in rungs["wa"].why
    assert "loses 2.0e-01 of the output's R²" in rungs["wc"].why
    assert raised.embeddings


def test_two_moves_of_one_tensor_end_in_float(graph: Parse) -> None:
    """The second takes over from the first."""
    model = graph(TEXT, **NUMBERS)
    moves = [Move("t", rung, 0.1, 0.1, 1.0) for rung in ("dynamic", "float")]
    raised = raise_precision(model, PLAN, moves)
    assert list(raised.activations) == ["x"]
    assert list(raised.kept_float) == ["wc"]


def test_float_tables(graph: Parse) -> None:
    """The last move leaves the Linears alone."""
    raised = raise_precision(graph(TEXT, **NUMBERS), PLAN, [Move(TABLES, "float", 0.1, 0.1, 0.0)])
    assert not raised.embeddings
    assert raised.activations == PLAN.activations
    int4 = Plan(embeddings="int4")
    raised = raise_precision(graph(TEXT, **NUMBERS), int4, [Move(TABLES, "int8", 0.1, 0.1, 0.0)])
    assert raised == Plan(embeddings="int8")


def test_one_tensor_alone(graph: Parse) -> None:
    """Nothing else is quantized, so that its loss is its own."""
    model = graph(TEXT, **NUMBERS)
    found = only(model, PLAN, "t", "dynamic")
    assert list(found.activations) == ["t"]
    assert found.activations["t"].dynamic
    assert not found.embeddings
    assert only(model, PLAN, TABLES, "int8") == Plan(embeddings="int8")
