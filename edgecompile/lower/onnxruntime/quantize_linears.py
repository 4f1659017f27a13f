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
    FloatArray,
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
    name = linear.name
    error = weight_array(weight.q) * weight_array(weight.scale) - weight_of(linear)
    b = add_bias(graph, linear, activation, error)
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
    s, z = add_range(graph, x, activation, target)
    node = ir.node("QuantizeLinear", [x, s, z], name=f"{x.name}.int8")
    graph.insert_before(linear.matmul, node)
    return Quantized(node.outputs[0], s, z)


def add_range(
    graph: ir.Graph, x: ir.Value, activation: Activation, target: Target
) -> tuple[ir.Value, ir.Value]:
    """Add an activation's scale and zero point, in the type that the target's kernels want."""
    scale, zero = affine(activation.low, activation.high)
    number = np.uint8(zero) if target.activation == "uint8" else np.int8(zero - 128)
    return (
        add_initializer(graph, f"{x.name}.scale", np.array(scale, np.float32)),
        add_initializer(graph, f"{x.name}.zero", np.array(number)),
    )


def add_bias(
    graph: ir.Graph, linear: Linear, activation: Activation, error: FloatArray
) -> ir.Value:
    """Add a Linear's bias less what the weight's rounding error [in, out] adds in the mean."""
    bias = np.zeros(error.shape[1]) if linear.bias is None else weight_array(linear.bias)
    corrected = (bias - activation.mean @ error).astype(np.float32)
    return add_initializer(graph, f"{linear.name}.bias_int8", corrected)
