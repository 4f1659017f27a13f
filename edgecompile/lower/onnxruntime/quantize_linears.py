"""Write the plan's Linears as int8, float out: the form that onnxruntime's CPU runs fastest.

    y = x @ W + b   ->   q = QuantizeLinear(x, scale, zero)
                         y = MatMulIntegerToFloat(q, Wq, scale, scale_w[out], zero, b')

    on the dynamic rung: q, scale, zero = DynamicQuantizeLinear(x)

b' takes back the mean error that rounding the weight makes on the calibration data:
b' = b - E[x] @ (scale_w * Wq - W)   (Nagel et al. 2019, section 4.2).
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.facts import attention_runs, equalised
from edgecompile.graph import (
    MICROSOFT,
    Linear,
    add_initializer,
    linears,
    substitute,
    sweep,
    weight_array,
    weight_of,
)
from edgecompile.passes import rewrite
from edgecompile.plan import Activation, Plan, affine
from edgecompile.rounding import quantize_weight
from edgecompile.target import Target

EQUALISED_SUFFIX = ".equalised"


@rewrite(needs=[equalised, attention_runs])
def quantize_linears(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """MatMul and Add -> QuantizeLinear and MatMulIntegerToFloat."""
    if plan.weights:
        return model
    model = model.clone()
    inputs: dict[ir.Value, Quantized] = {}
    weights: dict[ir.Value, Quantized] = {}
    for linear in list(linears(model.graph)):
        activation = plan.activations.get(str(linear.x.name).removesuffix(EQUALISED_SUFFIX))
        if activation is not None and linear.name not in plan.kept_float:
            if linear.x not in inputs:
                inputs[linear.x] = _quantize_input(model.graph, linear, activation, target)
            if linear.weight not in weights:
                weights[linear.weight] = _quantize_weight(model.graph, linear, activation, target)
            x, weight = inputs[linear.x], weights[linear.weight]
            _quantize(model.graph, linear, activation, x, weight)
            model.graph.opset_imports[MICROSOFT] = 1
    return sweep(model)


@dataclass(frozen=True, slots=True)
class Quantized:
    """A tensor in 8 bits, its scale, and its zero point (None: 0)."""

    q: ir.Value
    scale: ir.Value
    zero: ir.Value | None


def _quantize(
    graph: ir.Graph, linear: Linear, activation: Activation, x: Quantized, weight: Quantized
) -> None:
    name, w = linear.name, weight_of(linear)
    rounded = weight_array(weight.q) * weight_array(weight.scale)
    bias = np.zeros(w.shape[1]) if linear.bias is None else weight_array(linear.bias)
    bias = (bias - activation.mean @ (rounded - w)).astype(np.float32)
    b = add_initializer(graph, f"{name}.bias_int8", bias)
    inputs = [x.q, weight.q, x.scale, weight.scale, x.zero, weight.zero, b]
    node = ir.node("MatMulIntegerToFloat", inputs, domain=MICROSOFT, name=name)
    substitute(graph, linear.nodes, [node])


def _quantize_weight(
    graph: ir.Graph, linear: Linear, activation: Activation, target: Target
) -> Quantized:
    q, scale = quantize_weight(weight_of(linear), target.weight, activation.hessian)
    values = [
        add_initializer(graph, f"{linear.name}.{suffix}", array)
        for suffix, array in (("weight_int8", q), ("weight_scale", scale))
    ]
    return Quantized(values[0], values[1], None)


def _quantize_input(
    graph: ir.Graph, linear: Linear, activation: Activation, target: Target
) -> Quantized:
    x = linear.x
    if activation.dynamic:
        node = ir.node("DynamicQuantizeLinear", [x], num_outputs=3, name=f"{x.name}.int8")
        graph.insert_before(linear.matmul, node)
        return Quantized(*node.outputs)
    scale, zero = affine(activation.low, activation.high)
    number = np.uint8(zero) if target.activation == "uint8" else np.int8(zero - 128)
    s = add_initializer(graph, f"{x.name}.scale", np.array(scale, np.float32))
    z = add_initializer(graph, f"{x.name}.zero", np.array(number))
    node = ir.node("QuantizeLinear", [x, s, z], name=f"{x.name}.int8")
    graph.insert_before(linear.matmul, node)
    return Quantized(node.outputs[0], s, z)
