"""Write the plan's Linears as int8, float out: the form that onnxruntime's CPU runs fastest.

    y = x @ W + b   ->   q = QuantizeLinear(x, scale, zero)
                         y = MatMulIntegerToFloat(q, Wq, scale, scale_w[out], zero, b')

b' takes back the mean error that rounding the weight makes on the calibration data:
b' = b - E[x] @ (scale_w * Wq - W)   (Nagel et al. 2019, section 4.2).
"""

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
    model = model.clone()
    quantized: dict[str, tuple[ir.Value, ir.Value, ir.Value]] = {}
    for linear in list(linears(model.graph)):
        activation = plan.activations.get(str(linear.x.name).removesuffix(EQUALISED_SUFFIX))
        if activation is not None and linear.name not in plan.kept_float:
            _quantize(model.graph, linear, activation, target, quantized)
            model.graph.opset_imports[MICROSOFT] = 1
    return sweep(model)


def _quantize(
    graph: ir.Graph,
    linear: Linear,
    activation: Activation,
    target: Target,
    quantized: dict[str, tuple[ir.Value, ir.Value, ir.Value]],
) -> None:
    name, x = linear.name, linear.x
    tape = ir.tape.Tape()
    if str(x.name) not in quantized:
        quantized[str(x.name)] = _quantize_input(graph, tape, x, activation, target)
    q, scale, zero = quantized[str(x.name)]
    weight = weight_of(linear)
    wq, ws = quantize_weight(weight, target.weight)
    bias = np.zeros(weight.shape[1]) if linear.bias is None else weight_array(linear.bias)
    bias = (bias - activation.mean @ (wq * ws - weight)).astype(np.float32)
    tape.op(
        "MatMulIntegerToFloat",
        [
            q,
            add_initializer(graph, f"{name}.weight_int8", wq),
            scale,
            add_initializer(graph, f"{name}.weight_scale", ws),
            zero,
            None,
            add_initializer(graph, f"{name}.bias_int8", bias),
        ],
        domain=MICROSOFT,
        name=name,
    )
    substitute(graph, linear.nodes, tape.nodes)


def _quantize_input(
    graph: ir.Graph, tape: ir.tape.Tape, x: ir.Value, activation: Activation, target: Target
) -> tuple[ir.Value, ir.Value, ir.Value]:
    scale, zero = affine(activation.low, activation.high)
    number: np.uint8 | np.int8 = np.uint8(zero)
    if target.activation == "int8":
        number = np.int8(zero - 128)
    s = add_initializer(graph, f"{x.name}.scale", np.array(scale, np.float32))
    z = add_initializer(graph, f"{x.name}.zero", np.array(number))
    return tape.op("QuantizeLinear", [x, s, z], name=f"{x.name}.int8"), s, z
