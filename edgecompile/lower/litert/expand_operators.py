"""Write in LiteRT's operators what it has none for.

    LayerNormalization(x, g, b)   ->   d = x - ReduceMean(x)
                                       Pow(ReduceMean(d * d) + epsilon, -1/2) * d * g + b
    InstanceNormalization(x, g, b)  ->  the same over each channel's numbers, g and b by channel
    BatchNormalization(x, g, b, m, v)  ->  x * g' + b', by channel
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
    constant,
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
    last = add_int64(graph, -1)
    y = _normalise(graph, tape, node, last)
    y = tape.op("Mul", [y, present(node.inputs[1])], name=f"{node.name}.scaled")
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        tape.op("Add", [y, node.inputs[2]], name=str(node.name))


def _instance_norm(graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node) -> None:
    x, (g, b) = present(node.inputs[0]), (constant(value) for value in node.inputs[1:])
    if x.shape is None or g is None or b is None:
        return  # the writer names it
    rank, name = len(x.shape), str(node.name)
    g, b = (array.reshape(-1, *[1] * (rank - 2)) for array in (g, b))
    y = _normalise(graph, tape, node, add_int64(graph, *range(2, rank)))
    y = tape.op("Mul", [y, add_initializer(graph, f"{name}.g", g)], name=f"{name}.scaled")
    tape.op("Add", [y, add_initializer(graph, f"{name}.b", b)], name=name)


def _batch_norm(graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node) -> None:
    x, found = present(node.inputs[0]), [constant(value) for value in node.inputs[1:]]
    arrays = [array.astype(np.float64) for array in found if array is not None]
    if x.shape is None or len(arrays) != 4:
        return  # the writer names it
    g, b, mean, variance = arrays
    name, shape = str(node.name), (-1, *[1] * (len(x.shape) - 2))
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    factor = g / np.sqrt(variance + epsilon)
    for op_type, key, array in (("Mul", "g", factor), ("Add", "b", b - mean * factor)):
        value = add_initializer(graph, f"{name}.{key}", array.reshape(shape).astype(np.float32))
        x = tape.op(op_type, [x, value], name=f"{name}.{key}.applied")


def _normalise(graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node, axes: ir.Value) -> ir.Value:
    """Write (x - mean) / sqrt(variance + epsilon) over axes."""
    name, x = str(node.name), present(node.inputs[0])
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    mean = tape.op("ReduceMean", [x, axes], {"keepdims": 1}, name=f"{name}.mean")
    d = tape.op("Sub", [x, mean], name=f"{name}.centred")
    square = tape.op("Mul", [d, d], name=f"{name}.square")
    v = tape.op("ReduceMean", [square, axes], {"keepdims": 1}, name=f"{name}.variance")
    small = _number(graph, f"{name}.epsilon", epsilon)
    v = tape.op("Add", [v, small], name=f"{name}.safe")
    power = _number(graph, "rsqrt", RSQRT)
    v = tape.op("Pow", [v, power], name=f"{name}.rsqrt")
    y: ir.Value = tape.op("Mul", [d, v], name=f"{name}.normalised")
    return y


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
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "ReduceL2": _length,
    "Clip": _clip,
}
