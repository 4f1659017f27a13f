"""Write every Linear as FullyConnected, LiteRT's FULLY_CONNECTED, in the precision of its rung.

    int8:     q = QuantizeLinear(x, scale, zero)
              y = s * DequantizeLinear(FullyConnected(q, Wq[out, in], bq))    int8 in, int8 out
    dynamic:  y = FullyConnected(x, Wq[out, in], b)                           float in, float out
              (of all int8 Linears where the target's form is "hybrid")
    float:    y = FullyConnected(x, W[out, in], b)

An int8 FULLY_CONNECTED must round what it gives, in one scale for all channels. So the plan's
factors of the output, 1 / s[out], go into the weight's scales and the bias, and s behind: every
channel then has the same range. Without, MiniLM's mean cosine is 0.94.

b is corrected as for onnxruntime. The inputs of FullyConnected are those of onnxruntime's QGemm:
x, its scale and zero point, W, its scales and zero point, bias, the output's scale and zero point.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.facts import INT8, equalised, linears_are_int8
from edgecompile.graph import (
    LITERT,
    Array,
    FloatArray,
    Linear,
    add_initializer,
    dim,
    lazy_tensor,
    linears,
    substitute,
    sweep,
    weight_array,
    weight_of,
    weight_tensor,
)
from edgecompile.lower.onnxruntime.quantize_linears import EQUALISED_SUFFIX
from edgecompile.passes import rewrite
from edgecompile.plan import Activation, Output, Plan, affine
from edgecompile.rounding import Int8Array, quantize_weight
from edgecompile.target import Target

LARGEST = 2**31 - 1


@rewrite(needs=[equalised], gives=[linears_are_int8])
def quantize_linears(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """MatMul and Add -> FullyConnected, with what rounds its input and output."""
    model = model.clone()
    inputs: dict[ir.Value, list[ir.Value]] = {}
    weights: dict[ir.Value, Weight] = {}
    for linear in list(linears(model.graph)):
        activation = plan.activations.get(str(linear.x.name).removesuffix(EQUALISED_SUFFIX))
        tape = ir.tape.Tape()
        if activation is None or linear.name in plan.kept_float:
            _write_float(model.graph, tape, linear)
        else:
            if linear.weight not in weights:
                weights[linear.weight] = _round(linear, activation, target)
            weight = weights[linear.weight]
            if activation.dynamic or target.forms.linear == "hybrid":
                _write_dynamic(model.graph, tape, linear, activation, weight)
            else:
                if linear.x not in inputs:
                    inputs[linear.x] = _quantize_input(model.graph, linear, activation)
                output = _output(plan, linear)
                _write_int8(model.graph, tape, linear, weight, activation, inputs, output)
        substitute(model.graph, linear.nodes, tape.nodes)
    model.graph.opset_imports[LITERT] = 1
    model.metadata_props[INT8] = "yes"
    return sweep(model)


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight in int8, [out, in], its scales [out], and W' - W, [in, out]."""

    q: Int8Array
    scale: FloatArray
    error: FloatArray


def _round(linear: Linear, activation: Activation, target: Target) -> Weight:
    w = weight_of(linear)
    q, scale = quantize_weight(w, target.weight, activation.hessian)
    return Weight(np.ascontiguousarray(q.T), scale, q * scale - w)


def _corrected_bias(linear: Linear, activation: Activation, weight: Weight) -> FloatArray:
    bias = np.zeros(len(weight.q)) if linear.bias is None else weight_array(linear.bias)
    return np.asarray(bias - activation.mean @ weight.error)


def _output(plan: Plan, linear: Linear) -> Output:
    found = plan.outputs.get(str(linear.y.name))
    if found is None:
        msg = f"the plan has no range of what '{linear.name}' gives"
        raise ValueError(msg)
    return found


def _quantize_input(graph: ir.Graph, linear: Linear, activation: Activation) -> list[ir.Value]:
    """Return the int8 input, its scale and its zero point; all its readers share them."""
    name = str(linear.x.name)
    scale, zero = _add_range(graph, name, activation.low, activation.high)
    node = ir.node("QuantizeLinear", [linear.x, scale, zero], name=f"{name}.int8")
    graph.insert_before(linear.matmul, node)
    return [node.outputs[0], scale, zero]


def _add_range(graph: ir.Graph, name: str, low: float, high: float) -> list[ir.Value]:
    scale, zero = affine(low, high)
    return [
        add_initializer(graph, f"{name}.scale", np.array(scale, np.float32)),
        add_initializer(graph, f"{name}.zero", np.array(zero - 128, np.int8)),
    ]


def _write_int8(  # noqa: PLR0917 - one Linear, and the numbers that it is rounded by
    graph: ir.Graph,
    tape: ir.tape.Tape,
    linear: Linear,
    weight: Weight,
    activation: Activation,
    inputs: dict[ir.Value, list[ir.Value]],
    output: Output,
) -> None:
    name, x = linear.name, inputs[linear.x]
    scale = (weight.scale / output.smoothing).astype(np.float32)
    steps = scale.astype(np.float64) * float(weight_array(x[1]))
    bias = _corrected_bias(linear, activation, weight) / output.smoothing
    rounded = np.clip(np.rint(bias / steps), -LARGEST, LARGEST).astype(np.int32)
    y_range = _add_range(graph, f"{name}.output", output.low, output.high)
    w = _add(graph, name, weight_int8=weight.q, weight_scale=scale, bias_int32=rounded)
    operands = [*x, w[0], w[1], None, w[2], *y_range]
    y = tape.op("FullyConnected", operands, domain=LITERT, name=f"{name}.int8")
    if (output.smoothing == 1).all():
        tape.op("DequantizeLinear", [y, *y_range], name=name)
        return
    y = tape.op("DequantizeLinear", [y, *y_range], name=f"{name}.float")
    (factor,) = _add(graph, name, output_factor=output.smoothing)
    tape.op("Mul", [y, factor], name=name)


def _write_dynamic(
    graph: ir.Graph, tape: ir.tape.Tape, linear: Linear, activation: Activation, weight: Weight
) -> None:
    bias = _corrected_bias(linear, activation, weight).astype(np.float32)
    w = _add(graph, linear.name, weight_int8=weight.q, weight_scale=weight.scale, bias=bias)
    operands = [linear.x, None, None, w[0], w[1], None, w[2], None, None]
    tape.op("FullyConnected", operands, domain=LITERT, name=linear.name)


def _write_float(graph: ir.Graph, tape: ir.tape.Tape, linear: Linear) -> None:
    tensor = weight_tensor(linear.weight)
    shape = (dim(linear.weight, 1), dim(linear.weight, 0))
    weight = lazy_tensor(shape, lambda: np.ascontiguousarray(tensor.numpy().T))
    w = add_initializer(graph, f"{linear.name}.weight_rows", weight)
    operands = [linear.x, None, None, w, None, None, linear.bias, None, None]
    tape.op("FullyConnected", operands, domain=LITERT, name=linear.name)


def _add(graph: ir.Graph, name: str, **arrays: Array) -> list[ir.Value]:
    """Add a Linear's arrays under its name."""
    return [add_initializer(graph, f"{name}.{key}", array) for key, array in arrays.items()]
