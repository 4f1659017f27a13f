"""Let an int8 Linear's scales take in a number that its output is multiplied by: attention's.

    Mul(DequantizeLinear(FullyConnected(q, Wq, w_scale, ..., s), s), c)
    ->  DequantizeLinear(FullyConnected(q, Wq, c * w_scale, ..., c * s), c * s)

The integers stay as they are: the bias is in steps of the input's and the weight's scales.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import equalised, linears_are_int8, no_attention
from edgecompile.graph import (
    LITERT,
    FloatArray,
    add_initializer,
    constant,
    present,
    substitute,
    sweep,
)
from edgecompile.passes import rewrite

W_SCALE, Y_SCALE = 4, 7
"""Places among FullyConnected's inputs."""


@rewrite(needs=[equalised, no_attention, linears_are_int8])
def fold_scalars(model: ir.Model) -> ir.Model:
    """Mul by a positive number -> the scales of the Linear before it, where it alone reads that."""
    model = model.clone()
    for node in [node for node in model.graph if node.op_type == "Mul"]:
        numbers = [array for value in node.inputs if (array := constant(value)) is not None]
        if len(numbers) != 1 or numbers[0].size != 1 or not (c := float(numbers[0].item())) > 0:
            continue
        (x,) = (present(value) for value in node.inputs if constant(value) is None)
        dequantize = _sole_producer(x, "DequantizeLinear")
        linear = dequantize and _sole_producer(present(dequantize.inputs[0]), "FullyConnected")
        if dequantize is not None and linear and linear.domain == LITERT:
            _fold(model.graph, [linear, dequantize, node], c)
    return sweep(model)


def _sole_producer(value: ir.Value, op_type: str) -> ir.Node | None:
    """Return the node that gives a value, if it is of a type and nothing else reads the value."""
    node, alone = value.producer(), len(value.uses()) == 1 and not value.is_graph_output()
    return node if node is not None and node.op_type == op_type and alone else None


def _fold(graph: ir.Graph, nodes: list[ir.Node], c: float) -> None:
    linear, dequantize, mul = nodes
    name, operands = str(mul.name), list(linear.inputs)
    for place, key in ((W_SCALE, "weight_scale"), (Y_SCALE, "output_scale")):
        scale: FloatArray = np.asarray(constant(operands[place]), np.float32)
        operands[place] = add_initializer(graph, f"{name}.{key}", np.asarray(scale * np.float32(c)))
    y = ir.node("FullyConnected", operands, domain=LITERT, name=str(linear.name))
    zero = dequantize.inputs[2]
    back = ir.node("DequantizeLinear", [y.outputs[0], operands[Y_SCALE], zero], name=name)
    substitute(graph, nodes, [y, back])
