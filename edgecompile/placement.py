"""Where a node of an NPU's graph runs: on the host, before or behind the encoder, or on the NPU."""

from collections.abc import Callable, Sequence

import onnx_ir as ir

EMBED, ENCODER, POOL = "embed", "encoder", "pool"
PARTS = (EMBED, ENCODER, POOL)
KEY = "edgecompile.part"


def place(node: ir.Node, part: str) -> ir.Node:
    """Note a node's part; return the node."""
    node.metadata_props[KEY] = part
    return node


def place_of(node: ir.Node) -> str:
    """Return a node's part: where none is noted, the host's first."""
    return node.metadata_props.get(KEY, EMBED)


def cut_part(model: ir.Model, part: str) -> ir.Model:
    """Return the nodes of a part as a model of its own.

    Its inputs are the tensors that other parts or the caller give, its outputs those that are read
    outside of it, both in the graph's order.
    """
    from edgecompile.graph import sweep

    model = model.clone()
    graph = model.graph
    inside = [node for node in graph if place_of(node) == part]
    kept = set(inside)
    made = {value for node in inside for value in node.outputs}
    ends = set(graph.outputs)
    outputs = [v for node in inside for v in node.outputs if v in ends or _read(v, kept)]
    borders: dict[ir.Value, ir.Value] = {}
    for node in inside:
        for index, value in enumerate(node.inputs):
            if value is None or value in made or value.is_initializer():
                continue
            if value not in borders:
                borders[value] = _input(value)
            node.replace_input_with(index, borders[value])
    outside = [node for node in graph if node not in kept]
    graph.outputs.clear()
    graph.outputs.extend(outputs)
    for node in reversed(outside):
        graph.remove(node, safe=False)
    graph.inputs.clear()
    graph.inputs.extend(borders.values())
    return sweep(model)


def _read(value: ir.Value, kept: set[ir.Node]) -> bool:
    return any(user not in kept for user in value.consumers())


def _input(value: ir.Value) -> ir.Value:
    copy = ir.Value(name=value.name, shape=value.shape, type=value.type)
    copy.metadata_props.update(value.metadata_props)
    return copy


def fix_shapes(model: ir.Model, shape_of: Callable[[ir.Value], Sequence[int]]) -> ir.Model:
    """Return a part whose ends have shapes of numbers.

    Vela leaves to the CPU whatever touches a tensor of an open shape.
    """
    model = model.clone()
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = ir.Shape(shape_of(value))
    return model
