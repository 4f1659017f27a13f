"""Move Transposes down until they meet one that undoes them: most of a model needs none.

    Transpose(Gelu(Transpose(x)))              ->   Gelu(x)
    Transpose(Mul(Transpose(x), factors[C]))   ->   Mul(x, factors[1, C, 1])

What a Transpose moves through works on each number by itself. OpenVINO's convolution keeps
[B, C, S] in memory as [B, S, C]; each Transpose of floats that is left costs a copy.
"""

import onnx_ir as ir

from edgecompile.facts import (
    SWAP,
    attention_is_lowered,
    linears_are_int8,
    no_transposes_cancel,
    swaps_tokens,
    undoes,
)
from edgecompile.graph import (
    add_initializer,
    constant,
    present,
    replace_value,
    sole_consumer,
    substitute,
    sweep,
)
from edgecompile.passes import rewrite

ALONE = frozenset({"Gelu", "Relu", "Tanh", "Sigmoid", "Erf", "QuantizeLinear", "DequantizeLinear"})
"""Operators on each number by itself; the int8 ones, where their scale is one number."""
PAIRED = frozenset({"Mul", "Add", "Sub", "Div"})
"""Likewise, of a tensor and a constant number or vector [C]."""


@rewrite(needs=[attention_is_lowered, linears_are_int8], gives=[no_transposes_cancel])
def cancel_transposes(model: ir.Model) -> ir.Model:
    """Move each Transpose of tokens and channels down, and remove it with the one it meets."""
    model = model.clone()
    waiting = [node for node in model.graph if swaps_tokens(node)]
    while waiting:
        swap = waiting.pop()
        x, y = present(swap.inputs[0]), swap.outputs[0]
        for node in y.consumers():
            if undoes(node, swap):
                replace_value(node.outputs[0], x)
                model.graph.remove(node, safe=True)
                waiting = [other for other in waiting if other is not node]
        user = sole_consumer(y, *ALONE, *PAIRED)
        if user is not None and _works_alone(user, y):
            waiting.append(_move_below(model.graph, swap, user))
    return sweep(model)


def _works_alone(node: ir.Node, y: ir.Value) -> bool:
    """Say whether a node treats each number of y by itself, or by its channel alone."""
    others = [value for value in node.inputs if value is not y]
    arrays = [constant(value) for value in others]
    if any(array is None or array.ndim > 1 for array in arrays) or len(node.inputs) == len(others):
        return False
    return node.op_type in PAIRED or all(a is not None and a.size == 1 for a in arrays)


def _move_below(graph: ir.Graph, swap: ir.Node, node: ir.Node) -> ir.Node:
    """op(Transpose(x), w)   ->   Transpose(op(x, w'))."""
    tape, name = ir.tape.Tape(), str(node.name)
    inputs = [
        present(swap.inputs[0]) if value is swap.outputs[0] else _by_channel(graph, value)
        for value in node.inputs
    ]
    attributes = {key: attribute.value for key, attribute in node.attributes.items()}
    y = tape.op(node.op_type, inputs, attributes, name=name)
    tape.op("Transpose", [y], {"perm": SWAP}, name=f"{name}.tokens")
    substitute(graph, [node], tape.nodes)
    return tape.nodes[-1]


def _by_channel(graph: ir.Graph, value: ir.Value | None) -> ir.Value | None:
    """[C]   ->   [1, C, 1]."""
    array = constant(value)
    if array is None or array.size == 1:
        return value
    return add_initializer(graph, f"{present(value).name}.channels", array[None, :, None])
