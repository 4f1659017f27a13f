"""Operators on each number by itself, or on two tensors that broadcast."""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import RSQRT
from edgecompile.tflite.operators.read_node import Writers, attribute
from edgecompile.tflite.subgraph import Subgraph, Tensor, unsupported

ALONE = {
    "Abs": "ABS", "Ceil": "CEIL", "Cos": "COS", "Elu": "ELU", "Exp": "EXP", "Floor": "FLOOR",
    "HardSwish": "HARD_SWISH", "Log": "LOG", "Neg": "NEG", "Not": "LOGICAL_NOT", "Relu": "RELU",
    "Round": "ROUND", "Sigmoid": "LOGISTIC", "Sign": "SIGN", "Sin": "SIN", "Sqrt": "SQRT",
    "Tanh": "TANH",
}  # fmt: skip
"""Operators on each number by itself."""
PAIRED = {
    "Add": ("ADD", "AddOptions"), "Sub": ("SUB", "SubOptions"), "Mul": ("MUL", "MulOptions"),
    "Div": ("DIV", "DivOptions"), "Max": ("MAXIMUM", "MaximumMinimumOptions"),
    "Min": ("MINIMUM", "MaximumMinimumOptions"), "Equal": ("EQUAL", "EqualOptions"),
    "Less": ("LESS", "LessOptions"), "LessOrEqual": ("LESS_EQUAL", "LessEqualOptions"),
    "Greater": ("GREATER", "GreaterOptions"), "And": ("LOGICAL_AND", "LogicalAndOptions"),
    "GreaterOrEqual": ("GREATER_EQUAL", "GreaterEqualOptions"),
    "Or": ("LOGICAL_OR", "LogicalOrOptions"),
}  # fmt: skip
"""Operators on two tensors that broadcast."""
TRUTHS = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or"})
"""Those that answer yes or no."""
BOOL = np.dtype(np.bool_)


def alone(graph: Subgraph, node: ir.Node) -> None:
    """Write y = op(x)."""
    x = graph.of(node.inputs[0])
    graph.write(ALONE[node.op_type], [x], [graph.output(node.outputs[0], x.shape, x.dtype)])


def paired(graph: Subgraph, node: ir.Node) -> None:
    """Write y = op(a, b)."""
    if len(node.inputs) != 2:
        raise unsupported(node, f"LiteRT's takes two inputs, not {len(node.inputs)}")
    a, b = (graph.of(value) for value in node.inputs)
    builtin, options = PAIRED[node.op_type]
    dtype = BOOL if node.op_type in TRUTHS else a.dtype
    shape = np.broadcast_shapes(a.shape, b.shape)
    graph.write(builtin, [a, b], [graph.output(node.outputs[0], shape, dtype)], options)


def is_nan(graph: Subgraph, node: ir.Node) -> None:
    """Write where x is no number: it is not equal to itself."""
    x = graph.of(node.inputs[0])
    y = graph.output(node.outputs[0], x.shape, BOOL)
    graph.write("NOT_EQUAL", [x, x], [y], "NotEqualOptions")


def power(graph: Subgraph, node: ir.Node) -> None:
    """Write y = x ** n; n = -1/2 is RSQRT."""
    x, n = (graph.of(value) for value in node.inputs)
    y = graph.output(node.outputs[0], np.broadcast_shapes(x.shape, n.shape), x.dtype)
    if n.array is not None and n.array.size == 1 and n.array.reshape(-1)[0] == RSQRT:
        graph.write("RSQRT", [x], [y])
    else:
        graph.write("POW", [x, n], [y], "PowOptions")


def gelu(graph: Subgraph, node: ir.Node) -> None:
    """Write Gelu by erf or tanh."""
    x = graph.of(node.inputs[0])
    y = graph.output(node.outputs[0], x.shape, x.dtype)
    tanh = attribute(node, "approximate", "none") == "tanh"
    graph.write("GELU", [x], [y], "GeluOptions", approximate=tanh)


def cast(graph: Subgraph, node: ir.Node) -> None:
    """Write the same numbers in another type."""
    x, code = graph.of(node.inputs[0]), attribute(node, "to", 1)
    dtype = ir.DataType(code).numpy()
    y = graph.output(node.outputs[0], x.shape, dtype)
    graph.write("CAST", [x], [y], "CastOptions", **_cast_types(graph, x, y))


def _cast_types(graph: Subgraph, x: Tensor, y: Tensor) -> dict[str, int]:
    tables = graph.table.tensors
    types = [tables[graph.place(tensor)].type for tensor in (x, y)]
    return dict(zip(("inDataType", "outDataType"), types, strict=True))


def choose(graph: Subgraph, node: ir.Node) -> None:
    """Write a where a condition holds, b elsewhere."""
    inputs = [graph.of(value) for value in node.inputs]
    shape = np.broadcast_shapes(*(tensor.shape for tensor in inputs))
    y = graph.output(node.outputs[0], shape, inputs[1].dtype)
    graph.write("SELECT_V2", inputs, [y], "SelectV2Options")


WRITERS: Writers = {
    **{("", name): alone for name in ALONE},
    **{("", name): paired for name in PAIRED},
    ("", "Cast"): cast,
    ("", "Gelu"): gelu,
    ("", "IsNaN"): is_nan,
    ("", "Pow"): power,
    ("", "Where"): choose,
}
