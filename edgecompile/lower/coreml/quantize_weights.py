"""Round the weights of the plan's Linears and of embedding tables to int8; nothing else.

    y = x W + b            ->   y = x DequantizeLinear(Wq, scale[out]) + b'
    y = Gather(table, i)   ->   y = Gather(DequantizeLinear(table_q, scale[rows]), i)

What W is multiplied with stays float, or is rounded at run time: no range of the plan is used.
Factors are where an engine's own pass has put them. b' takes the mean error back, as for
onnxruntime. A scale is a number that 16 bits hold, for Core ML keeps it so.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import EQUALISED, INT8, linears_are_int8, shapes_inferred
from edgecompile.graph import (
    Array,
    Linear,
    add_initializer,
    linears,
    present,
    substitute,
    sweep,
    weight_array,
    weight_of,
)
from edgecompile.lower.onnxruntime.quantize_linears import EQUALISED_SUFFIX, add_bias
from edgecompile.lower.qnn.apply_equalisation import plain
from edgecompile.lower.qnn.split_tables import is_lookup
from edgecompile.passes import rewrite
from edgecompile.plan import Activation, Plan
from edgecompile.rounding import quantize_rows, quantize_weight

SMALLEST = float(np.finfo(np.float16).tiny)


@rewrite(needs=[shapes_inferred], gives=[linears_are_int8])
def quantize_weights(model: ir.Model, plan: Plan) -> ir.Model:
    """Put a DequantizeLinear before each weight that is rounded."""
    model = model.clone()
    stored: dict[ir.Value, ir.Value] = {}
    equalised = EQUALISED in model.metadata_props
    for linear in list(linears(model.graph)):
        activation = plan.activations.get(str(linear.x.name).removesuffix(EQUALISED_SUFFIX))
        if activation is not None and linear.name not in plan.kept_float:
            activation = activation if equalised else plain(activation)
            _round_linear(model.graph, linear, activation, stored)
    if plan.embeddings:
        for node in [n for n in model.graph if n.op_type == "Gather" and is_lookup(n)]:
            _round_table(model.graph, node, stored)
    model.metadata_props[INT8] = "yes"
    return sweep(model)


def _round_linear(
    graph: ir.Graph, linear: Linear, activation: Activation, stored: dict[ir.Value, ir.Value]
) -> None:
    """Let a Linear read its weight rounded by column; Linears that share it share that too."""
    w = weight_of(linear)
    q, scale = quantize_weight(w, "int8", activation.hessian)
    scale = np.maximum(scale, SMALLEST).astype(np.float16).astype(np.float32)
    bias = add_bias(graph, linear, activation, q * scale - w)
    if linear.weight not in stored:
        stored[linear.weight] = _dequantize(graph, linear.matmul, linear.name, q, scale, 1)
    tape = ir.tape.Tape()
    y = tape.op("MatMul", [linear.x, stored[linear.weight]], name=f"{linear.name}.product")
    y.shape, y.type = linear.y.shape, linear.y.type
    tape.op("Add", [y, bias], name=linear.name)
    substitute(graph, linear.nodes, tape.nodes)


def _round_table(graph: ir.Graph, node: ir.Node, stored: dict[ir.Value, ir.Value]) -> None:
    table = present(node.inputs[0])
    if table not in stored:
        q, scale = quantize_rows(weight_array(table))
        steps = np.maximum(scale.reshape(-1), SMALLEST).astype(np.float16).astype(np.float32)
        stored[table] = _dequantize(graph, node, str(table.name), q, steps, 0)
    node.replace_input_with(0, stored[table])


def _dequantize(  # noqa: PLR0917 - an array, and how it was rounded
    graph: ir.Graph, before: ir.Node, name: str, q: Array, scale: Array, axis: int
) -> ir.Value:
    arrays = {"int8": q, "scale": scale, "zero": np.zeros(len(scale), np.int8)}
    inputs = [add_initializer(graph, f"{name}.{key}", array) for key, array in arrays.items()]
    node = ir.node("DequantizeLinear", inputs, {"axis": axis}, name=f"{name}.weight")
    y = node.outputs[0]
    y.name, y.shape, y.type = f"{name}.weight", ir.Shape(q.shape), ir.TensorType(ir.DataType.FLOAT)
    graph.insert_before(before, node)
    return y
