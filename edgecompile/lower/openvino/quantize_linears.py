"""Write the plan's Linears as int8 in standard operators, float out, in the target's form.

    x' = DequantizeLinear(QuantizeLinear(x, scale, zero), scale, zero)
    W' = DequantizeLinear(Wq, scale_w[out])

    y = x @ W + b   ->   matmul:       y = MatMul(x', W') + b'
                    ->   convolution:  y = Transpose(Conv(Transpose(x'), W'[out, in, 1], b'))

OpenVINO computes both from the integers. Where there is no VNNI, all of MiniLM takes half of the
time as convolutions (benchmarks/forms_openvino.py). b' is b less what rounding the weight adds in
the mean, as for onnxruntime.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.facts import (
    INT8,
    SWAP,
    attention_is_lowered,
    equalised,
    linears_are_int8,
    shapes_inferred,
)
from edgecompile.graph import (
    Linear,
    add_initializer,
    linears,
    substitute,
    sweep,
    weight_of,
)
from edgecompile.lower.onnxruntime.quantize_linears import EQUALISED_SUFFIX, add_bias, add_range
from edgecompile.passes import rewrite
from edgecompile.plan import Activation, Plan
from edgecompile.rounding import quantize_weight
from edgecompile.target import Target


@rewrite(needs=[equalised, shapes_inferred, attention_is_lowered], gives=[linears_are_int8])
def quantize_linears(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """MatMul and Add -> the same between QuantizeLinear and DequantizeLinear."""
    model = model.clone()
    inputs: dict[tuple[ir.Value, bool], ir.Value] = {}
    weights: dict[tuple[ir.Value, bool], Weight] = {}
    for linear in list(linears(model.graph)):
        activation = plan.activations.get(str(linear.x.name).removesuffix(EQUALISED_SUFFIX))
        if activation is None or linear.name in plan.kept_float:
            continue
        convolve = target.forms.linear == "convolution" and _has_tokens(linear.x)
        x, w = (linear.x, convolve), (linear.weight, convolve)
        if x not in inputs:
            inputs[x] = _quantize_input(model.graph, linear, activation, target, convolve=convolve)
        if w not in weights:
            weights[w] = _quantize_weight(
                model.graph, linear, activation, target, convolve=convolve
            )
        bias = add_bias(model.graph, linear, activation, weights[w].error)
        _quantize(model.graph, linear, inputs[x], weights[w].value, bias, convolve=convolve)
    model.metadata_props[INT8] = "yes"
    return sweep(model)


def _has_tokens(x: ir.Value) -> bool:
    """Say whether x is [B, S, C]; one token alone, always, is as well a MatMul (split_factors)."""
    return x.shape is not None and len(x.shape) == 3 and tuple(x.shape)[:2] != (1, 1)


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight in int8 as the graph holds it, and what rounding changed: W' - W, [in, out]."""

    value: ir.Value
    error: np.ndarray


def _quantize_input(
    graph: ir.Graph, linear: Linear, activation: Activation, target: Target, *, convolve: bool
) -> ir.Value:
    x, tape = linear.x, ir.tape.Tape()
    s, z = add_range(graph, x, activation, target)
    q = tape.op("QuantizeLinear", [x, s, z], name=f"{x.name}.int8")
    y = tape.op("DequantizeLinear", [q, s, z], name=f"{x.name}.rounded")
    if convolve:
        y = tape.op("Transpose", [y], {"perm": SWAP}, name=f"{x.name}.swapped")
    graph.insert_before(linear.matmul, list(tape.nodes))
    return y


def _quantize_weight(
    graph: ir.Graph, linear: Linear, activation: Activation, target: Target, *, convolve: bool
) -> Weight:
    w, name, tape = weight_of(linear), linear.name, ir.tape.Tape()
    q, scale = quantize_weight(w, target.weight, activation.hessian)
    stored = np.ascontiguousarray(q.T)[:, :, None] if convolve else q
    values = [
        add_initializer(graph, f"{name}.{suffix}", array)
        for suffix, array in (("weight_int8", stored), ("weight_scale", scale))
    ]
    axis = {"axis": 0 if convolve else 1}
    value = tape.op("DequantizeLinear", values, axis, name=f"{name}.weight_rounded")
    graph.insert_before(linear.matmul, list(tape.nodes))
    return Weight(value, q * scale - w)


def _quantize(
    graph: ir.Graph, linear: Linear, x: ir.Value, w: ir.Value, bias: ir.Value, *, convolve: bool
) -> None:
    name, tape = linear.name, ir.tape.Tape()
    if convolve:
        y = tape.op("Conv", [x, w, bias], name=name)
        tape.op("Transpose", [y], {"perm": SWAP}, name=f"{name}.tokens")
    else:
        tape.op("Add", [tape.op("MatMul", [x, w], name=f"{name}.matmul"), bias], name=name)
    substitute(graph, linear.nodes, tape.nodes)
