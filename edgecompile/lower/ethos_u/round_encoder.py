"""Write the encoder in integers: int8 where many products are summed, int16 where few are added.

    int8    what Linears and attention read and give, Gelu, Softmax
    int16   the residual stream and all of LayerNormalization: their ranges span three decades

In the profile "accurate", Linears that read the residual stream, and the FFN, are 16 bits by int8
weights too; q, k and v are then rounded to int8, since attention has no other form. Operators stay
what they are: their tensors say in which integers (integer_format.py). Between two formats stands
a Round.
"""

import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.facts import INT8 as DONE
from edgecompile.facts import linears_are_int8, nodes_are_placed
from edgecompile.graph import (
    LITERT,
    Linear,
    constant,
    linears,
    present,
    sweep,
)
from edgecompile.integer_format import (
    INT8,
    INT16,
    IntegerFormat,
    format_for,
    format_of,
    set_format,
)
from edgecompile.passes import rewrite
from edgecompile.placement import ENCODER, POOL, place, place_of
from edgecompile.plan import Plan
from edgecompile.rounded.channels import by_channel, write_channels, write_mean
from edgecompile.rounded.linear import write_linear
from edgecompile.rounded.rounder import ACCURATE, Rounder
from edgecompile.target import Target

PROBABILITY = {INT8: IntegerFormat(INT8, 1 / 256, -128)}
"""What Softmax must give."""
UNIT = {INT8: IntegerFormat(INT8, 1 / 128), INT16: IntegerFormat(INT16, 1 / 32768)}
"""What LOGISTIC and TANH must give."""
MASK = IntegerFormat(INT8, 1.0)
"""Of a padding bias: 0, or so low that any sum with it ends at the format's lowest number."""
BELOW = 0.1
"""How much further the scores' format reaches down than any score: a masked one lies there."""
STEEPNESS = 1.702
"""gelu(x) = x sigmoid(1.702 x), within 0.02 (Hendrycks and Gimpel 2016, section 2)."""
MOVES = frozenset({"Reshape", "Transpose"})
WIDE = frozenset({"Mul", "Sub", "ReduceMean", "Pow", "Add"})
"""Operators in 16 bits."""


@rewrite(needs=[nodes_are_placed], gives=[linears_are_int8])
def round_encoder(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """Give every tensor of the encoder its integers."""
    model = model.clone()
    rounder = Rounder(model.graph, plan, target.profile, target.forms.channels)
    of_node = {node: linear for linear in linears(model.graph) for node in linear.nodes}
    for node in list(model.graph):
        if place_of(node) != ENCODER or node.graph is None:
            continue
        if node in of_node:
            if node is of_node[node].matmul:
                _linear(rounder, of_node[node])
        else:
            _node(rounder, node)
    _leave(rounder)
    model.graph.opset_imports[LITERT] = 1
    model.metadata_props[DONE] = "yes"
    return sweep(model)


def _node(rounder: Rounder, node: ir.Node) -> None:
    """Choose the format of a node's inputs and output."""
    y = node.outputs[0]
    if node.op_type in MOVES:
        x = present(node.inputs[0])
        node.replace_input_with(0, rounder.enter(x, node))
        set_format(y, format_of(present(node.inputs[0])) or rounder.format(x, rounder.residual))
    elif node.op_type == "FusedMatMul":
        _take(rounder, node, INT8)
        scores = any(u.op_type in ("Softmax", "Add") for u in y.consumers())
        set_format(y, _scores(rounder, y) if scores else rounder.format(y, INT8))
    elif node.op_type == "Softmax":
        _take(rounder, node, INT8)
        set_format(y, PROBABILITY[INT8])
    elif node.op_type == "Add" and _is_mask(node):
        _mask(rounder, node)
    elif node.op_type == "Mul" and rounder.convolves and (found := by_channel(node)):
        write_channels(rounder, node, _wide(rounder, found[0], node), found[1])
    elif node.op_type == "ReduceMean" and rounder.residual == INT16 and (size := _last(node)):
        write_mean(rounder, node, _wide(rounder, present(node.inputs[0]), node), size)
    elif node.op_type in ("Gelu", "Relu"):
        _activation(rounder, node)
    elif node.op_type == "Tanh":
        _take(rounder, node, rounder.residual)
        set_format(y, UNIT[rounder.residual])
    elif node.op_type == "Add" and _is_epsilon(node):
        ir.convenience.replace_all_uses_with(y, present(node.inputs[0]))
        rounder.graph.remove(node, safe=True)
    else:
        _take(rounder, node, rounder.residual)
        set_format(y, rounder.format(y, rounder.residual))


def _take(rounder: Rounder, node: ir.Node, dtype: str) -> None:
    """Give a node its inputs in a type: constants too."""
    for index, value in enumerate(node.inputs):
        if value is None or (index and node.op_type in ("ReduceMean", "Pow")):
            continue
        array = constant(value)
        if array is None:
            entered = rounder.enter(value, node)
            node.replace_input_with(index, rounder.as_type(entered, dtype, node))
        else:
            node.replace_input_with(index, rounder.constant(str(value.name), array, dtype))


def _wide(rounder: Rounder, value: ir.Value, before: ir.Node) -> ir.Value:
    return rounder.as_type(rounder.enter(value, before), INT16, before)


def _last(node: ir.Node) -> int:
    """Return how many numbers a mean is of, if it goes over the last axis alone and keeps it."""
    x, axes = present(node.inputs[0]), constant(node.inputs[1])
    rank = len(x.shape) if x.shape is not None else 0
    kept = "keepdims" not in node.attributes or node.attributes["keepdims"].as_int() == 1
    if not rank or not kept or axes is None or axes.tolist() not in ([-1], [rank - 1]):
        return 0
    size = x.shape[-1] if x.shape is not None else 0
    return size if isinstance(size, int) else 0


def _scores(rounder: Rounder, y: ir.Value) -> IntegerFormat:
    low, high = rounder.range(y)
    return format_for(low - BELOW * (high - low), high, INT8)


def _is_mask(node: ir.Node) -> bool:
    users = node.outputs[0].consumers()
    return bool(users) and all(user.op_type == "Softmax" for user in users)


def _mask(rounder: Rounder, node: ir.Node) -> None:
    scores, bias = (present(value) for value in node.inputs)
    if rounder.plan.tensors.get(str(bias.name), (0.0, 0.0)) != (0.0, 0.0):
        msg = (
            f"node '{node.name}' (Add): the scores' bias is more than a padding mask, which has no"
            " form on Ethos-U; choose another target for this model"
        )
        raise UnsupportedError(msg)
    node.replace_input_with(1, rounder.enter(bias, node, MASK))
    set_format(node.outputs[0], format_of(scores) or _scores(rounder, scores))


def _is_epsilon(node: ir.Node) -> bool:
    """Say whether an Add's constant is less than half a step of what it is added to."""
    x, number = node.inputs[0], constant(node.inputs[1])
    if x is None or number is None or number.size != 1 or (form := format_of(x)) is None:
        return False
    return bool(abs(float(number.reshape(()))) < form.scale / 2)


def _activation(rounder: Rounder, node: ir.Node) -> None:
    """Gelu in 8 bits is a table; in 16 bits, where it has none, x sigmoid(1.702 x)."""
    x, y = present(node.inputs[0]), node.outputs[0]
    form = format_of(x)
    if form is None or form.dtype == INT8 or node.op_type == "Relu":
        set_format(y, rounder.format(y, form.dtype if form else INT8))
        return
    low, high = rounder.range(y)
    sigmoid = ir.node("Sigmoid", [x], name=f"{node.name}.sigmoid")
    product = ir.node("Mul", [x, sigmoid.outputs[0]], name=str(node.name))
    rounder.graph.insert_before(node, [place(sigmoid, ENCODER), place(product, ENCODER)])
    sigmoid.outputs[0].name = sigmoid.name
    set_format(sigmoid.outputs[0], UNIT[INT16])
    set_format(product.outputs[0], format_for(STEEPNESS * low, STEEPNESS * high, INT16))
    ir.convenience.replace_all_uses_with(y, product.outputs[0])
    rounder.graph.remove(node, safe=True)
    product.outputs[0].name = y.name


def _linear(rounder: Rounder, linear: Linear) -> None:
    """Write a Linear by int8 weights, of 8 or 16 bits."""
    x = rounder.enter(linear.x, linear.matmul)
    form = format_of(x)
    wide = rounder.profile == ACCURATE and form is not None and form.dtype == INT16
    x = x if wide else rounder.as_type(x, INT8, linear.matmul)
    write_linear(rounder, linear, x, STEEPNESS)


def _leave(rounder: Rounder) -> None:
    """Turn what the host reads of the encoder back to float."""
    for node in list(rounder.graph):
        if place_of(node) != ENCODER:
            continue
        y = node.outputs[0]
        outside = [user for user in y.consumers() if place_of(user) == POOL]
        if not outside and not y.is_graph_output():
            continue
        back = ir.node("Unround", [y], domain=LITERT, name=f"{y.name}.unround")
        rounder.graph.insert_after(node, place(back, POOL))
        z = back.outputs[0]
        name, z.shape, z.type = y.name, y.shape, y.type
        for user in outside:
            for index, value in enumerate(user.inputs):
                if value is y:
                    user.replace_input_with(index, z)
        if y.is_graph_output():
            place_in = list(rounder.graph.outputs).index(y)
            rounder.graph.outputs[place_in] = z
        y.name, z.name = f"{name}.{INT16}", name
