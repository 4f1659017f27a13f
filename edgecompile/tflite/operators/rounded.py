"""Operators of tensors whose integers are noted on them (integer_format.py)."""

from math import prod

import numpy as np
import onnx_ir as ir

from edgecompile.graph import LITERT, Array, constant, present
from edgecompile.integer_format import INT16, format_of
from edgecompile.tflite.flatbuffer import schema
from edgecompile.tflite.operators.read_node import Writers, array_of, held, reshaped
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
    numbers = _whole(node.inputs[3])
    bias = Tensor(bias.name, numbers.shape, numbers.dtype, numbers, steps)
    w = graph.constant(w.name, held(w), graph.file.rounding(scale))
    y = graph.output(node.outputs[0], (*x.shape[:-1], w.shape[0]), x.dtype)
    options = "FullyConnectedOptions"
    graph.write("FULLY_CONNECTED", [x, w, bias], [y], options, 5, keepNumDims=True)


def channels(graph: Subgraph, node: ir.Node) -> None:
    """Write y = x * w + b with int8 w and int64 b by channel: a convolution of one tap."""
    x, (w, scale) = graph.of(node.inputs[0]), (array_of(graph, v) for v in node.inputs[1:3])
    if x.rounding is None or (form := format_of(present(node.inputs[0]))) is None:
        msg = f"'{x.name}' has no integers"
        raise ValueError(msg)
    by_channel, name = graph.file.rounding(scale, axis=3), str(node.name)
    kernel = graph.constant(f"{name}.kernel", w.reshape(1, 1, 1, -1), by_channel)
    offset = _whole(node.inputs[3])
    steps = graph.file.rounding(scale.astype(np.float64) * form.scale)
    bias = Tensor(f"{name}.bias", offset.shape, offset.dtype, offset, steps)
    image = reshaped(graph, x, (1, prod(x.shape) // w.size, 1, w.size))
    y = graph.output(node.outputs[0], image.shape, x.dtype)
    values = {"strideH": 1, "strideW": 1, "depthMultiplier": 1, "padding": schema().Padding.VALID}
    options = "DepthwiseConv2DOptions"
    graph.write("DEPTHWISE_CONV_2D", [image, kernel, bias], [y], options, 5, **values)
    graph.known[node.outputs[0]] = reshaped(graph, y, x.shape)


def _whole(value: ir.Value | None) -> Array:
    """Return a constant of whole numbers: 64 bits stay 64."""
    array = constant(value)
    if array is None:
        msg = "a bias is no constant"
        raise ValueError(msg)
    return array


WRITERS: Writers = {
    (LITERT, "RoundedChannels"): channels,
    (LITERT, "Round"): round_,
    (LITERT, "RoundedLinear"): linear,
    (LITERT, "Unround"): unround,
}
