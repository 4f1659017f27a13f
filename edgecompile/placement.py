"""Where a node of an NPU's graph runs: on the host, before or behind the encoder, or on the NPU."""

from collections.abc import Callable, Iterable, Sequence

import onnx_ir as ir

from edgecompile.graph import linears, sweep

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


def behind_linears(graph: ir.Graph) -> set[ir.Node]:
    """Return the Linears and everything that depends on one."""
    found = {node for linear in linears(graph) for node in linear.nodes}
    found |= {node for node in graph if is_gemm(node)}
    for node in graph:
        if any(v is not None and v.producer() in found for v in node.inputs):
            found.add(node)
    return found


def is_gemm(node: ir.Node) -> bool:
    """Say whether a node is a Linear in one."""
    return node.op_type == "Gemm" and node.inputs[1] is not None and node.inputs[1].is_initializer()


def before(ends: Iterable[ir.Node]) -> set[ir.Node]:
    """Return the nodes that ends depend on, and themselves."""
    found = set(ends)
    waiting = list(found)
    while waiting:
        for value in waiting.pop().inputs:
            producer = None if value is None else value.producer()
            if producer is not None and producer not in found:
                found.add(producer)
                waiting.append(producer)
    return found


def pull_to_pool(graph: ir.Graph) -> None:
    """Give the host's second part what it alone reads of the first: it is computed there."""
    for node in reversed(list(graph)):
        users = [user for value in node.outputs for user in value.consumers()]
        outputs = any(value.is_graph_output() for value in node.outputs)
        alone = users and not outputs and all(place_of(user) == POOL for user in users)
        if place_of(node) == EMBED and alone:
            place(node, POOL)


def cut_part(model: ir.Model, part: str) -> ir.Model:
    """Return the nodes of a part as a model of its own.

    Its inputs are the tensors that other parts or the caller give, its outputs those that are read
    outside of it, both in the graph's order.
    """
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
        for index in range(len(node.inputs)):  # it still counts as a reader of its weights
            node.replace_input_with(index, None)
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
