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
    narrow: set[ir.Value] = set()  # what is narrower now than the probe saw it
    for node in [n for n in graph if n.op_type == "Expand"]:
        _drop_expand(node, probe, narrow)
    sweep(model)
    for node in list(graph):
        for value in node.outputs:
            if not content[value] and (seen := probe.everywhere(value)) is not None:
                _fold_value(graph, value, seen)
        if node.op_type == "Gather" and not content.get(present(node.inputs[1])):
            _fold_positions(graph, node, probe, narrow)
        if node.op_type == "Reshape" and not content.get(present(node.inputs[1])):
            _fold_reshape(graph, node, probe)
    return sweep(model)


def _fold_value(graph: ir.Graph, value: ir.Value, seen: tuple[Array, ...]) -> None:
    if value.uses() and all(np.array_equal(seen[0], other) for other in seen[1:]):
        replace_value(value, add_initializer(graph, f"{value.name}.folded", seen[0]))


def _fold_reshape(graph: ir.Graph, node: ir.Node, probe: Probe) -> None:
    x, y = probe.of(node.inputs[0]), probe.of(node.outputs[0])
    shapes = probe.everywhere(node.inputs[1])
    if present(node.inputs[1]).is_initializer() or x is None or shapes is None or y is None:
        return
    stated: list[int] = []
    for axis, sizes in enumerate(zip(*(array.shape for array in y), strict=True)):
        kept = all(
            array.ndim > axis and array.shape[axis] == size
            for array, size in zip(x, sizes, strict=True)
        )
        fixed = len(set(sizes)) == 1
        if fixed and len({int(shape[axis]) for shape in shapes}) > 1:
            return  # the same in short runs only
        stated.append(sizes[0] if fixed else 0 if kept else -1)
    if stated.count(-1) <= 1:
        node.replace_input_with(1, add_int64(graph, *stated))
        node.attributes.pop("allowzero", None)  # with it, 0 would not mean: as in the input


def _fold_positions(graph: ir.Graph, node: ir.Node, probe: Probe, narrow: set[ir.Value]) -> None:
    """Gather(table [rows, C], arange) into an Add -> Slice; one repeated row -> that row."""
    table, index = present(node.inputs[0]), probe.everywhere(node.inputs[1])
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    rows, y = probe.of(table), node.outputs[0]
    if index is None or not table.is_initializer() or axis != 0 or rows is None:
        return
    rank = index[0].ndim + 1
    if rows[0].ndim != 2 or any(user.op_type != "Add" for user in y.consumers()):
        return
    if all(array.size and np.all(array == index[0].flat[0]) for array in index):
        if _narrowed(y, frozenset(range(-rank, -1)), probe, narrow) is not None:
            row = rows[0][int(index[0].flat[0])]
            replace_value(y, add_initializer(graph, f"{table.name}.row", row))
    elif all(array.ndim and np.all(array == np.arange(array.shape[-1])) for array in index):
        length = _sequence_length(graph, probe, [array.shape[-1] for array in index])
        lost = frozenset(range(-rank, -2))
        if length is not None and _narrowed(y, lost, probe, narrow) is not None:
            zero = add_int64(graph, 0)
            first = ir.node("Slice", [table, zero, length.outputs[0], zero], name=node.name)
            length.outputs[0].name, first.outputs[0].name = f"{y.name}.length", f"{y.name}.rows"
            graph.insert_before(node, [length, first])
            replace_value(y, first.outputs[0])


def _sequence_length(graph: ir.Graph, probe: Probe, sizes: list[int]) -> ir.Node | None:
    """Return a Shape of the input whose last axis had these sizes."""
    for value in graph.inputs:
        seen = probe.everywhere(value)
        if seen is None or seen[0].ndim != 2:
            continue
        if [a.shape[-1] for a in seen[: len(sizes)]] == sizes:
            return ir.node("Shape", [value], {"start": 1, "end": 2}, name="sequence_length")
    return None


def _drop_expand(node: ir.Node, probe: Probe, narrow: set[ir.Value]) -> None:
    x, y = present(node.inputs[0]), node.outputs[0]
    before, after = probe.of(x), probe.of(y)
    if before is None or after is None or before[0].ndim != after[0].ndim:
        return
    grown = frozenset(
        axis
        for axis in range(-after[0].ndim, 0)
        if any(a.shape[axis] != b.shape[axis] for a, b in zip(before, after, strict=True))
    )
    found = _narrowed(y, grown, probe, narrow)
    if found is not None:
        narrow |= found
        for value in found:
            value.shape = None  # what the exporter noted is wrong now
        replace_value(y, x)


def _narrowed(
    value: ir.Value, axes: frozenset[int], probe: Probe, narrow: set[ir.Value]
) -> set[ir.Value] | None:
    """Return the tensors that lose their axes (counted from the last, -1) with `value`.

    None where a reader would notice: not all of them restore the axes by another operand.
    """
    if value.is_graph_output():
        return None
    found = {value}
    for user in value.consumers():
        more = _narrowed_by(user, value, axes, probe, narrow)
        if more is None:
            return None
        found |= more
    return found


def _narrowed_by(
    user: ir.Node, value: ir.Value, axes: frozenset[int], probe: Probe, narrow: set[ir.Value]
) -> set[ir.Value] | None:
    if user.op_type in ("Cast", "Clip"):
        return _narrowed(user.outputs[0], axes, probe, narrow)
    if user.op_type in ("ReduceSum", "ReduceMean"):
        moved = _after_reduction(user, axes, probe)
        return None if moved is None else _narrowed(user.outputs[0], moved, probe, narrow)
    result = probe.of(user.outputs[0])
    others = [probe.of(v) for v in user.inputs if v is not value and v not in narrow]
    if user.op_type not in BROADCASTING or result is None:
        return None
    restored = (
        any(other is not None and _has(other, result, axis) for other in others) for axis in axes
    )
    return set() if all(restored) else None


def _after_reduction(node: ir.Node, grown: frozenset[int], probe: Probe) -> frozenset[int] | None:
    """Return where the axes are after a reduction, or None if it reduces one of them."""
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    seen = probe.of(node.inputs[0])
    if axes is None or seen is None:
        return None
    rank = seen[0].ndim
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
