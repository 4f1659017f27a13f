"""The plan of rounded weights."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecompile.graph import linears
from edgecompile.plan import rung_of
from edgecompile.quantize.order_moves import Move, only, raise_precision
from edgecompile.quantize.plan_weights import plan_weights

Parse = Callable[..., ir.Model]

TEXT = """(float[b,s,64] x) => (float[b,s,1] y) {
    a = MatMul(x, wa) t = Tanh(a) y = MatMul(t, wb) }"""


def model_of(graph: Parse) -> ir.Model:
    """Return a large Linear and a small one that makes the output."""
    ones = np.ones((64, 64), np.float32)
    return graph(TEXT, wa=ones, wb=ones[:, :1])


def test_every_linear_is_planned_but_a_small_output(graph: Parse) -> None:
    """Nothing need be observed; the reason is kept."""
    model = model_of(graph)
    plan = plan_weights(model, "int4")
    rungs = {linear.name: rung_of(plan, linear) for linear in linears(model.graph)}
    assert {name: rung.rung for name, rung in rungs.items()} == {
        "wa": "int4 weights",
        "wb": "float",
    }
    assert "holds 1.54% of the weights" in rungs["wb"].why
    assert plan.embeddings == "int4"


def test_the_ladder_keeps_the_scheme(graph: Parse) -> None:
    """A plan after a move, or of one tensor alone, rounds weights as before."""
    model = model_of(graph)
    plan = plan_weights(model, "int4")
    raised = raise_precision(model, plan, [Move("x", "float", 0.1, 0.1, 1.0)])
    assert raised.weights == only(model, plan, "x", "int8").weights == "int4"
    rung = rung_of(raised, next(linears(model.graph)))
    assert (rung.rung, "in int4 weights it loses" in rung.why) == ("float", True)
