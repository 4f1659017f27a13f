"""Operators of tensors whose integers are noted on them (integer_format.py)."""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import LITERT, present
from edgecompile.integer_format import INT16, format_of
from edgecompile.tflite.operators.read_node import Writers, array_of, held
from edgecompile.tflite.subgraph import Subgraph, Tensor

FLOAT = np.dtype(np.float32)


def round_(graph: Subgraph, node: ir.Node) -> None:
    """Write x in other integers, or float x in integers."""
    x = graph.of(node.inputs[0])
    y = graph.output(node.outputs[0], x.shape, x.dtype)
    graph.write("QUANTIZE", [x], [y], "QuantizeOptions", 2)


def unround(graph: Subgraph, node: ir.Node) -> None:
    """Write integers in float."""
    x = graph.of(node.inputs[0])
    y = graph.output(node.outputs[0], x.shape, FLOAT)
    version = 3 if x.dtype.name == INT16 else 2
    graph.write("DEQUANTIZE", [x], [y], "DequantizeOptions", version)


def linear(graph: Subgraph, node: ir.Node) -> None:
    """Write y = x @ W^T + b with int8 W by channel: b is int32, or int64 of 16-bit x."""
    x, w, bias = (graph.of(value) for value in (node.inputs[0], node.inputs[1], node.inputs[3]))
    form = format_of(present(node.inputs[0]))
    if form is None:
        msg = f"'{x.name}' has no integers"
        raise ValueError(msg)
    scale = array_of(graph, node.inputs[2])
    steps = graph.file.rounding(scale.astype(np.float64) * form.scale)
    b = present(node.inputs[3]).const_value
    numbers = held(bias) if b is None else b.numpy()  # 64 bits stay 64
    bias = Tensor(bias.name, numbers.shape, numbers.dtype, numbers, steps)
    w = graph.constant(w.name, held(w), graph.file.rounding(scale))
    y = graph.output(node.outputs[0], (*x.shape[:-1], w.shape[0]), x.dtype)
    options = "FullyConnectedOptions"
    graph.write("FULLY_CONNECTED", [x, w, bias], [y], options, 5, keepNumDims=True)


WRITERS: Writers = {
    (LITERT, "Round"): round_,
    (LITERT, "RoundedLinear"): linear,
    (LITERT, "Unround"): unround,
}
