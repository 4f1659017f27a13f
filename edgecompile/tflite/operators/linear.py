"""FULLY_CONNECTED in its precisions, and what rounds to int8 and back."""

from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.graph import LITERT
from edgecompile.tflite.flatbuffer import Rounding
from edgecompile.tflite.operators.read_node import Writers, array_of, held
from edgecompile.tflite.subgraph import Subgraph

FLOAT = np.dtype(np.float32)
HYBRID_BY_CHANNEL = 12
"""Version of float x by int8 weights with a scale a channel. Older runtimes (tflite-runtime 2.14)
have older versions, take no notice of the scales and say nothing: they must refuse."""


def quantize(graph: Subgraph, node: ir.Node) -> None:
    """Write float -> int8."""
    x = graph.of(node.inputs[0])
    rounding = _rounding(graph, node.inputs[1], node.inputs[2])
    y = graph.output(node.outputs[0], x.shape, np.dtype(np.int8), rounding)
    graph.write("QUANTIZE", [x], [y], "QuantizeOptions")


def dequantize(graph: Subgraph, node: ir.Node) -> None:
    """Write int8 -> float."""
    x = graph.of(node.inputs[0])
    y = graph.output(node.outputs[0], x.shape, FLOAT)
    graph.write("DEQUANTIZE", [x], [y], "DequantizeOptions", 2)


def fully_connected(graph: Subgraph, node: ir.Node) -> None:
    """Write y = x @ W^T + b: int8 by channel since version 5, of float x since 12."""
    operands = [*node.inputs, *[None] * (9 - len(node.inputs))]  # the last may be left out
    x, w, static = graph.of(operands[0]), graph.of(operands[3]), operands[7] is not None
    bias = None if operands[6] is None else graph.of(operands[6])
    version, rounding = 1, None
    dtype: np.dtype[Any] = FLOAT
    if operands[4] is not None:
        scale = array_of(graph, operands[4])
        w = graph.constant(w.name, held(w), graph.file.rounding(scale))
        version = HYBRID_BY_CHANNEL
    if static and bias is not None:
        version, dtype = 5, np.dtype(np.int8)
        steps = scale * array_of(graph, operands[1]).reshape(1)
        bias = graph.constant(bias.name, held(bias), graph.file.rounding(steps))
        rounding = _rounding(graph, operands[7], operands[8])
    y = graph.output(node.outputs[0], (*x.shape[:-1], w.shape[0]), dtype, rounding)
    values = {"keepNumDims": True}
    graph.write("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnectedOptions", version, **values)


def _rounding(graph: Subgraph, scale: ir.Value | None, zero: ir.Value | None) -> Rounding:
    return graph.file.rounding(array_of(graph, scale), int(array_of(graph, zero)))


WRITERS: Writers = {
    ("", "DequantizeLinear"): dequantize,
    ("", "QuantizeLinear"): quantize,
    (LITERT, "FullyConnected"): fully_connected,
}
