"""What the NPU's convolutions do faster than its elementwise unit, in 16 bits by 8-bit weights.

    y = x * g[C] + b[C]        ->   y = RoundedChannels(x, g8[C], scale[C], b64[C])
    y = ReduceMean(x, -1)      ->   y = RoundedLinear(x, 1 / C)

RoundedChannels is a DEPTHWISE_CONV_2D of one tap, for targets with the form channels =
"convolution": on an Ethos-U55, Vela 5.2 counts an eighth of the cycles of MUL and ADD with a
constant a channel; on an Ethos-U85, fifty times as many. A factor is exact: its scale is its own.
So is 1 / C, whose FULLY_CONNECTED takes an eighth of MEAN's cycles on both.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import LITERT, Array, add_initializer, constant, sole_consumer
from edgecompile.integer_format import INT16, IntegerFormat, format_of, set_format
from edgecompile.placement import ENCODER, place
from edgecompile.rounded.rounder import Rounder

LARGEST = 127
"""An int8 weight."""


def by_channel(node: ir.Node) -> tuple[ir.Value, Array] | None:
    """Return what a node's constant [C] is applied to, and the constant."""
    for value, other in (node.inputs[:2], node.inputs[1::-1]):
        array = constant(other)
        if value is not None and array is not None and array.ndim == 1 and array.size > 1:
            return value, array
    return None


def write_channels(rounder: Rounder, node: ir.Node, x: ir.Value, factors: Array) -> None:
    """Put RoundedChannels in the place of a Mul, and of the Add that alone reads it; x is int16."""
    last, offsets = node, np.zeros(factors.shape)
    added = sole_consumer(node.outputs[0], "Add")
    if added is not None and (found := by_channel(added)):
        last, offsets = added, found[1]
    form = rounder.format(last.outputs[0], INT16)
    made = add_channels(rounder, x, factors, form, node, offsets)
    _replace(rounder, [node, last], made)


def write_mean(rounder: Rounder, node: ir.Node, x: ir.Value, channels: int) -> None:
    """Put RoundedLinear in the place of a mean over channels; x is int16."""
    name = f"{node.name}.of_{channels}"
    ones = np.full((1, channels), LARGEST, np.int8)
    arrays: dict[str, Array] = {
        "weight_int8": ones,
        "weight_scale": np.array([1 / (LARGEST * channels)], np.float32),
        "bias": np.zeros(1, np.int64),
    }
    w = [add_initializer(rounder.graph, f"{name}.{key}", array) for key, array in arrays.items()]
    mean = place(ir.node("RoundedLinear", [x, *w], domain=LITERT, name=name), ENCODER)
    rounder.graph.insert_before(node, mean)
    made = set_format(mean.outputs[0], rounder.format(node.outputs[0], INT16))
    _replace(rounder, [node], made)


def multiply(
    rounder: Rounder, x: ir.Value, factors: Array, form: IntegerFormat, before: ir.Node
) -> ir.Value:
    """Insert the product of int16 x and factors [C], in the form that the target asks for."""
    if rounder.convolves:
        return add_channels(rounder, x, factors, form, before)
    name = f"{x.name}.by_channel"
    constant_of = rounder.constant(f"{name}.factors", factors)
    node = place(ir.node("Mul", [x, constant_of], name=name), ENCODER)
    rounder.graph.insert_before(before, node)
    return set_format(node.outputs[0], form)


def add_channels(  # noqa: PLR0917 - a value, what it becomes, and where
    rounder: Rounder,
    x: ir.Value,
    factors: Array,
    form: IntegerFormat,
    before: ir.Node,
    offsets: Array | None = None,
) -> ir.Value:
    """Insert RoundedChannels, of int16 x and factors and offsets [C], and return its output."""
    given = format_of(x)
    scale = np.abs(factors.astype(np.float64)) / LARGEST
    scale[scale == 0] = 1.0
    step = scale * (given.scale if given else 1.0)
    bias = np.zeros(len(step)) if offsets is None else offsets.astype(np.float64)
    arrays: dict[str, Array] = {
        "factor_int8": (np.sign(factors) * LARGEST).astype(np.int8),
        "factor_scale": scale.astype(np.float32),
        "offset": np.rint(bias / step).astype(np.int64),
    }
    name = f"{x.name}.by_channel"
    w = [add_initializer(rounder.graph, f"{name}.{key}", array) for key, array in arrays.items()]
    node = place(ir.node("RoundedChannels", [x, *w], domain=LITERT, name=name), ENCODER)
    rounder.graph.insert_before(before, node)
    return set_format(node.outputs[0], form)


def _replace(rounder: Rounder, nodes: list[ir.Node], made: ir.Value) -> None:
    """Let a value take the place of the last node's output, its name and its shape."""
    y = nodes[-1].outputs[0]
    name, made.shape, made.type = y.name, y.shape, y.type
    ir.convenience.replace_all_uses_with(y, made, replace_graph_outputs=True)
    rounder.graph.remove(list(dict.fromkeys(reversed(nodes))), safe=True)
    made.name = name
