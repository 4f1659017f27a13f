"""Write in LiteRT's operators what it has none for.

    LayerNormalization(x, g, b)   ->   d = x - ReduceMean(x)
                                       Pow(ReduceMean(d * d) + epsilon, -1/2) * d * g + b
    ReduceL2(x)                   ->   Sqrt(ReduceSum(x * x))
    Clip(x, low, high)            ->   Min(Max(x, low), high)

Pow(x, -1/2) is LiteRT's RSQRT.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecompile.facts import no_layer_norms
from edgecompile.graph import (
    RSQRT,
    add_initializer,
    add_int64,
    name_outputs,
    present,
    substitute,
    sweep,
)
from edgecompile.passes import rewrite


@rewrite(gives=[no_layer_norms])
def expand_operators(model: ir.Model) -> ir.Model:
    """Expand each operator of EXPANSIONS that has the one output that is written."""
    model = model.clone()
    for node in [n for n in model.graph if not n.domain and n.op_type in EXPANSIONS]:
        if not any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
            tape = ir.tape.Tape()
            EXPANSIONS[node.op_type](model.graph, tape, node)
            if tape.nodes:
                substitute(model.graph, [node], name_outputs(tape.nodes))
    return sweep(model)


def _layer_norm(graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node) -> None:
    axis = node.attributes.get("axis")
    if axis is not None and axis.as_int() != -1:
        return  # the writer names it
    name, x, last = str(node.name), present(node.inputs[0]), add_int64(graph, -1)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    mean = tape.op("ReduceMean", [x, last], {"keepdims": 1}, name=f"{name}.mean")
    d = tape.op("Sub", [x, mean], name=f"{name}.centred")
    square = tape.op("Mul", [d, d], name=f"{name}.square")
    v = tape.op("ReduceMean", [square, last], {"keepdims": 1}, name=f"{name}.variance")
    small = _number(graph, f"{name}.epsilon", epsilon)
    v = tape.op("Add", [v, small], name=f"{name}.safe")
    power = _number(graph, "rsqrt", RSQRT)
    v = tape.op("Pow", [v, power], name=f"{name}.rsqrt")
    y = tape.op("Mul", [d, v], name=f"{name}.normalised")
    y = tape.op("Mul", [y, present(node.inputs[1])], name=f"{name}.scaled")
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        tape.op("Add", [y, node.inputs[2]], name=name)


def _number(graph: ir.Graph, name: str, number: float) -> ir.Value:
    known = graph.initializers.get(name)
    return known or add_initializer(graph, name, np.array(number, np.float32))


def _length(_graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node) -> None:
    name, x = str(node.name), present(node.inputs[0])
    square = tape.op("Mul", [x, x], name=f"{name}.square")
    attributes = {key: attribute.value for key, attribute in node.attributes.items()}
    total = tape.op("ReduceSum", [square, *node.inputs[1:]], attributes, name=f"{name}.total")
    tape.op("Sqrt", [total], name=name)


def _clip(_graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node) -> None:
    x = present(node.inputs[0])
    bounds = list(zip(("Max", "Min"), node.inputs[1:], strict=False))
    for op_type, bound in bounds:
        if bound is not None:
            x = tape.op(op_type, [x, bound], name=f"{node.name}.{op_type.lower()}")


EXPANSIONS: dict[str, Callable[[ir.Graph, ir.tape.Tape, ir.Node], None]] = {
    "LayerNormalization": _layer_norm,
    "ReduceL2": _length,
    "Clip": _clip,
}
