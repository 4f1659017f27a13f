"""Replace what depends on the inputs' shapes alone, as far as its numbers can be stated.

    the same in every run                           ->   an initializer
    the target shape of a Reshape                   ->   an initializer with 0 and -1 for what varies
    Gather(table, 0, 1, ... S - 1)                  ->   Slice(table, 0, S)
    Expand(x) into an operator that broadcasts      ->   x
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import no_constant_nodes
from edgecompile.graph import Array, add_initializer, add_int64, present, replace_value, sweep
from edgecompile.passes import rewrite
from edgecompile.probe import Probe, depends_on

BROADCASTING = frozenset({"Add", "Sub", "Mul", "Div", "Where", "And", "Or", "Max", "Min"})


@rewrite(needs=[no_constant_nodes])
def fold_shapes(model: ir.Model, probe: Probe) -> ir.Model:
    """Shape arithmetic -> constants, Slice, or nothing."""
    model = model.clone()
    graph = model.graph
    content = depends_on(graph)
    for node in list(graph):
        for value in node.outputs:
            if not content[value] and (seen := probe.of(value)) is not None:
                _fold_value(graph, value, seen)
        if node.op_type == "Gather" and not content[present(node.inputs[1])]:
            _fold_positions(graph, node, probe)
        if node.op_type == "Reshape" and not content.get(present(node.inputs[1]), frozenset()):
            _fold_reshape(graph, node, probe)
        if node.op_type == "Expand":
            _drop_expand(node, probe)
    return sweep(model)


def _fold_value(graph: ir.Graph, value: ir.Value, seen: tuple[Array, ...]) -> None:
    if value.uses() and all(np.array_equal(seen[0], other) for other in seen[1:]):
        replace_value(value, add_initializer(graph, f"{value.name}.folded", seen[0]))


def _fold_reshape(graph: ir.Graph, node: ir.Node, probe: Probe) -> None:
    x, shapes, y = probe.of(node.inputs[0]), probe.of(node.inputs[1]), probe.of(node.outputs[0])
    if node.inputs[1].is_initializer() or x is None or shapes is None or y is None:  # type: ignore[union-attr]
        return
    stated: list[int] = []
    for axis, sizes in enumerate(zip(*(array.shape for array in y), strict=True)):
        kept = all(array.ndim > axis and array.shape[axis] == size for array, size in zip(x, sizes, strict=True))
        stated.append(sizes[0] if len(set(sizes)) == 1 else 0 if kept else -1)
    if stated.count(-1) <= 1:
        node.replace_input_with(1, add_int64(graph, *stated))


def _fold_positions(graph: ir.Graph, node: ir.Node, probe: Probe) -> None:
    """Gather(table [rows, C], arange) into an Add -> Slice; one repeated row -> that row."""
    table, index = present(node.inputs[0]), probe.of(node.inputs[1])
    users = node.outputs[0].consumers()
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    if index is None or not table.is_initializer() or axis != 0 or table.shape is None:
        return
    if len(table.shape) != 2 or any(user.op_type != "Add" for user in users):  # noqa: PLR2004
        return
    if all(array.size and np.all(array == index[0].flat[0]) for array in index):
        row = probe.of(table)[0][int(index[0].flat[0])]  # type: ignore[index]
        replace_value(node.outputs[0], add_initializer(graph, f"{table.name}.row", row))
    elif all(np.all(array == np.arange(array.shape[-1])) for array in index):
        length = _sequence_length(graph, probe, [array.shape[-1] for array in index])
        if length is not None:
            zero = add_int64(graph, 0)
            rows = ir.node("Slice", [table, zero, length.outputs[0], zero], name=node.name)
            graph.insert_before(node, [length, rows])
            replace_value(node.outputs[0], rows.outputs[0])


def _sequence_length(graph: ir.Graph, probe: Probe, sizes: list[int]) -> ir.Node | None:
    """Return a Shape of the input whose last axis had these sizes."""
    for value in graph.inputs:
        seen = probe.of(value)
        if seen is not None and [a.shape[-1] for a in seen] == sizes and seen[0].ndim == 2:  # noqa: PLR2004
            return ir.node("Shape", [value], {"start": 1, "end": 2}, name="sequence_length")
    return None


def _drop_expand(node: ir.Node, probe: Probe) -> None:
    x, y = present(node.inputs[0]), node.outputs[0]
    small = probe.of(x)
    users = y.consumers()
    if small is None or y.is_graph_output() or not users:
        return
    for user in users:
        result = probe.of(user.outputs[0])
        others = [probe.of(v) for v in user.inputs if v is not y]
        if user.op_type not in BROADCASTING or result is None or None in others:
            return
        for run, array in enumerate(result):
            shapes = [other[run].shape for other in others if other is not None]
            if np.broadcast_shapes(small[run].shape, *shapes) != array.shape:
                return
    replace_value(y, x)
