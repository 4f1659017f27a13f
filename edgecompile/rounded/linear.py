"""One Linear -> RoundedLinear, TFLite's FULLY_CONNECTED of integers, and what its output needs.

    y = x @ W + b              ->   y = RoundedLinear(x, W8[out, in], scale[out], b)
    y = Mul(x @ W + b, a)      ->   y = RoundedLinear(x, a W, a b)
    y into a residual, 8 bits  ->   y = Mul(Round16(RoundedLinear(x, W / t, b / t)), t)

t[out] is what each channel reaches: with it, one scale of 8 bits serves all channels alike.
Without, FFN outputs cost MiniLM 0.03 of its cosine: one channel is a hundred times the rest.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import (
    LITERT,
    FloatArray,
    Linear,
    add_initializer,
    scalar,
    sole_consumer,
    weight_array,
    weight_of,
)
from edgecompile.integer_format import INT8, INT16, IntegerFormat, format_for, format_of, set_format
from edgecompile.placement import ENCODER, place
from edgecompile.rounded.channels import multiply
from edgecompile.rounded.rounder import Rounder
from edgecompile.rounding import quantize_weight

EVEN = IntegerFormat(INT8, 1 / 127)
"""Of an output whose channels all reach 1."""
MARGIN = 1.02
UNEVEN = 8.0
"""How much further than most channels the furthest must reach to be worth the factors."""
LARGEST = {INT8: 2**31 - 1, INT16: 2**47}


def write_linear(rounder: Rounder, linear: Linear, x: ir.Value, steepness: float) -> None:
    """Put RoundedLinear in a Linear's place; `x` is its input in integers.

    In 16 bits, what a Gelu alone reads is made `steepness` times as large, and what comes from one
    is that much too large.
    """
    form = format_of(x)
    dtype = form.dtype if form else INT8
    last, factor = _absorb(linear)
    y = last.outputs[0]
    low, high = rounder.range(y)
    weight, bias = weight_of(linear) * factor, _bias(linear) * factor
    if dtype == INT16 and sole_consumer(y, "Gelu"):
        weight, bias = weight * steepness, bias * steepness
        low, high = low * steepness, high * steepness
    inflated = steepness if dtype == INT16 and _is_gelu(x) else 1.0
    weight = weight / inflated
    reach = _reach(rounder, linear, y, dtype)
    if reach is None:
        made = _write(rounder, linear, x, weight, bias, format_for(low, high, dtype), inflated)
        made.name = f"{y.name}.made"
        ir.convenience.replace_all_uses_with(y, made, replace_graph_outputs=True)
    else:
        made = _write(rounder, linear, x, weight / reach, bias / reach, EVEN, inflated)
        made.name = f"{y.name}.even"
        wide = rounder.round(made, IntegerFormat(INT16, EVEN.scale / 256), linear.matmul, ENCODER)
        made = multiply(rounder, wide, reach, rounder.format(y, INT16), linear.matmul)
        ir.convenience.replace_all_uses_with(y, made, replace_graph_outputs=True)
    nodes = linear.nodes if last in linear.nodes else [*linear.nodes, last]
    name, made.shape, made.type = y.name, y.shape, y.type
    rounder.graph.remove(list(reversed(nodes)), safe=True)
    made.name = name


def _absorb(linear: Linear) -> tuple[ir.Node, float]:
    """Return the last node that is written with a Linear, and the factor of it: 1 or a scale."""
    last = linear.add or linear.matmul
    scaled = sole_consumer(linear.y, "Mul")
    if scaled is not None:
        for value in scaled.inputs:
            if (factor := scalar(value)) is not None:
                return scaled, factor
    return last, 1.0


def _bias(linear: Linear) -> FloatArray:
    width = weight_of(linear).shape[1]
    return np.zeros(width) if linear.bias is None else weight_array(linear.bias).astype(np.float64)


def _is_gelu(x: ir.Value) -> bool:
    node = x.producer()
    return node is not None and any(
        v is not None and (p := v.producer()) is not None and p.op_type == "Sigmoid"
        for v in node.inputs
    )


def _reach(rounder: Rounder, linear: Linear, y: ir.Value, dtype: str) -> FloatArray | None:
    """Return what each channel reaches, [out], where factors are worth it."""
    seen = rounder.plan.outputs.get(str(linear.y.name))
    if dtype != INT8 or rounder.residual == INT8 or seen is None or not sole_consumer(y, "Add"):
        return None
    reach = seen.smoothing * max(-seen.low, seen.high)
    if rounder.plan.saturation:
        reach = np.minimum(reach, rounder.plan.saturation)
    if reach.max() < UNEVEN * np.median(reach):
        return None
    return np.asarray(np.maximum(reach, 1e-3 * reach.max()) * MARGIN, np.float64)


def _write(  # noqa: PLR0917 - one Linear, and the numbers that it is rounded by
    rounder: Rounder,
    linear: Linear,
    x: ir.Value,
    weight: FloatArray,
    bias: FloatArray,
    form: IntegerFormat,
    inflated: float,
) -> ir.Value:
    q, scale = quantize_weight(weight.astype(np.float32))
    x_form = format_of(x)
    step = scale.astype(np.float64) * (x_form.scale if x_form else 1.0)
    dtype = x_form.dtype if x_form else INT8
    bias = bias - _shift(rounder, linear, (q * scale - weight) * inflated)
    limit = LARGEST[dtype]
    rounded = np.clip(np.rint(bias / step), -limit, limit)
    rounded = rounded.astype(np.int32 if dtype == INT8 else np.int64)
    arrays = {"weight_int8": np.ascontiguousarray(q.T), "weight_scale": scale, "bias": rounded}
    w = [add_initializer(rounder.graph, f"{linear.name}.{k}", a) for k, a in arrays.items()]
    node = ir.node("RoundedLinear", [x, *w], domain=LITERT, name=linear.name)
    rounder.graph.insert_before(linear.matmul, place(node, ENCODER))
    return set_format(node.outputs[0], form)


def _shift(rounder: Rounder, linear: Linear, error: FloatArray) -> FloatArray | float:
    """Return what rounding the weights adds to the mean output, [out]."""
    seen = rounder.plan.activations.get(str(linear.x.name))
    return 0.0 if seen is None else (seen.mean * seen.smoothing).astype(np.float64) @ error
