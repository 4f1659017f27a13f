"""Replace what depends on the inputs' shapes alone, as far as its numbers can be stated.

the same in every run                           ->   an initializer
the target shape of a Reshape                   ->   an initializer with 0 and -1 for what varies
Gather(table, 0, 1, ... S - 1)                  ->   Slice(table, 0, S)
Expand(x) into an operator that broadcasts      ->   x
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import no_constant_nodes
from edgecompile.graph import (
    Array,
    add_initializer,
    add_int64,
    constant,
    present,
    replace_value,
    sweep,
)
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
        if node.op_type == "Reshape" and not content[present(node.inputs[1])]:
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
        kept = all(
            array.ndim > axis and array.shape[axis] == size
            for array, size in zip(x, sizes, strict=True)
        )
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
    if len(table.shape) != 2 or any(user.op_type != "Add" for user in users):
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
        if seen is not None and [a.shape[-1] for a in seen] == sizes and seen[0].ndim == 2:
            return ir.node("Shape", [value], {"start": 1, "end": 2}, name="sequence_length")
    return None


def _drop_expand(node: ir.Node, probe: Probe) -> None:
    x, y = present(node.inputs[0]), node.outputs[0]
    before, after = probe.of(x), probe.of(y)
    if before is None or after is None or y.is_graph_output() or before[0].ndim != after[0].ndim:
        return
    grown = frozenset(
        axis
        for axis in range(-after[0].ndim, 0)
        if any(a.shape[axis] != b.shape[axis] for a, b in zip(before, after, strict=True))
    )
    if _broadcast_later(y, grown, probe):
        replace_value(y, x)


def _broadcast_later(value: ir.Value, grown: frozenset[int], probe: Probe) -> bool:
    """Say whether all readers restore the axes (counted from the last, -1) that stay at 1."""
    if value.is_graph_output():
        return False
    return all(_restores(user, value, grown, probe) for user in value.consumers())


def _restores(user: ir.Node, value: ir.Value, grown: frozenset[int], probe: Probe) -> bool:
    if user.op_type in ("Cast", "Clip"):
        return _broadcast_later(user.outputs[0], grown, probe)
    if user.op_type in ("ReduceSum", "ReduceMean"):
        moved = _after_reduction(user, grown)
        return moved is not None and _broadcast_later(user.outputs[0], moved, probe)
    result = probe.of(user.outputs[0])
    others = [probe.of(v) for v in user.inputs if v is not value]
    if user.op_type not in BROADCASTING or result is None:
        return False
    return all(
        any(other is not None and _has(other, result, axis) for other in others) for axis in grown
    )


def _after_reduction(node: ir.Node, grown: frozenset[int]) -> frozenset[int] | None:
    """Return where the axes are after a reduction, or None if it reduces one of them."""
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    rank = len(node.inputs[0].shape) if node.inputs[0] and node.inputs[0].shape else None
    if axes is None or rank is None:
        return None
    reduced = {int(axis) - rank if axis >= 0 else int(axis) for axis in axes}
    if reduced & grown:
        return None
    keeps = "keepdims" not in node.attributes or node.attributes["keepdims"].as_int()
    return grown if keeps else frozenset(g + sum(r > g for r in reduced) for g in grown)


def _has(other: tuple[Array, ...], result: tuple[Array, ...], axis: int) -> bool:
    """Say whether an operand brings an axis at its full size."""
    return all(
        o.ndim >= -axis and o.shape[axis] == r.shape[axis]
        for o, r in zip(other, result, strict=True)
    )
