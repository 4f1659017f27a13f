"""Take units out of a graph: weights get smaller, and so does every number that counts them.

W1 [384, 1536], b1 [1536], W2 [1536, 384]   ->   W1 [384, 1152], b1 [1152], W2 [1152, 384]
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecompile.errors import PruneError
from edgecompile.graph import (
    Array,
    add_initializer,
    lazy_tensor,
    present,
    weight_array,
    weight_tensor,
)
from edgecompile.prune.group import Group, kept_positions

LAZY_FROM_BYTES = 1_000_000
"""Larger weights are sliced each time they are read, so that no second copy is kept."""

Places = npt.NDArray[np.int64]
Loss = tuple[tuple[int, bytes], ...]
"""What an initializer keeps, as something to compare: axes, and the bytes of the places kept."""


def remove_units(
    model: ir.Model, groups: Iterable[Group], keep: Mapping[str, Sequence[int]]
) -> ir.Model:
    """Return a model whose groups hold the units of `keep` alone (name of a group -> units).

    Groups that `keep` does not name stay whole. Names of nodes and tensors stay.
    """
    chosen = [group for group in groups if group.name in keep]
    if unknown := set(keep) - {group.name for group in chosen}:
        msg = f"no group named '{min(unknown)}'"
        raise PruneError(msg)
    for group in chosen:
        _check(group, keep[group.name])
    model = model.clone()
    nodes = {str(node.name): node for node in model.graph}
    values = {str(value.name): value for node in nodes.values() for value in node.outputs}
    values |= {str(value.name): value for value in model.graph.inputs}
    _cut(model.graph, chosen, keep)
    numbers: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
    for group in chosen:
        kept = keep[group.name]
        for edit in group.edits:
            count = int(kept_positions(edit.owners, kept).sum())
            if isinstance(edit.slot, str):
                nodes[edit.node].attributes.add(ir.AttrInt64(edit.slot, count))
            else:
                numbers[edit.node, edit.slot][edit.entry] = count
        for resize in group.resizes:
            count = int(kept_positions(resize.owners, kept).sum())
            _narrow(values[resize.value], resize.axis, count)
    for (name, slot), entries in numbers.items():
        _write_numbers(model.graph, nodes[name], slot, entries)
    return model


def _check(group: Group, kept: Sequence[int]) -> None:
    if not kept:
        msg = f"'{group.name}': at least 1 of its {group.units} {group.kind} must stay"
        raise PruneError(msg)
    ascending = all(a < b for a, b in itertools.pairwise(kept))
    if not ascending or kept[0] < 0 or kept[-1] >= group.units:
        msg = f"'{group.name}': units must be ascending numbers from 0 to {group.units - 1}"
        raise PruneError(msg)


def _cut(
    graph: ir.Graph,
    groups: Iterable[Group],
    keep: Mapping[str, Sequence[int]],
) -> None:
    """Cut initializers; one that others read whole, or cut otherwise, is copied."""
    losses: dict[str, dict[tuple[str, int], dict[int, Places]]] = defaultdict(dict)
    for group in groups:
        for cut in group.cuts:
            places = np.flatnonzero(kept_positions(cut.owners, keep[group.name]))
            for use in cut.uses:
                losses[cut.name].setdefault(use, {})[cut.axis] = places
    for name, by_use in losses.items():
        value = graph.initializers[name]
        forms: dict[Loss, list[tuple[ir.Node, int]]] = defaultdict(list)
        for node, index in list(value.uses()):
            forms[_loss(by_use.get((str(node.name), index), {}))].append((node, index))
        whole = weight_tensor(value)
        free = () not in forms
        for form, uses in forms.items():
            if not form:
                continue
            if free:
                free = False
                del graph.initializers[name]
            copy = add_initializer(graph, name, _sliced(whole, dict(form)))
            for node, index in uses:
                node.replace_input_with(index, copy)


def _loss(places: Mapping[int, Places]) -> Loss:
    return tuple((axis, places[axis].tobytes()) for axis in sorted(places))


def _sliced(tensor: ir.TensorProtocol, form: Mapping[int, bytes]) -> ir.LazyTensor | Array:
    places = {axis: np.frombuffer(raw, np.int64) for axis, raw in form.items()}

    def compute() -> Array:
        array = tensor.numpy()
        for axis, kept in places.items():
            array = np.take(array, kept, axis)
        return np.ascontiguousarray(array)

    if tensor.nbytes < LAZY_FROM_BYTES or tensor.dtype != ir.DataType.FLOAT:
        return compute()
    shape = [
        len(places[axis]) if axis in places else int(size)
        for axis, size in enumerate(tensor.shape.numpy())
    ]
    return lazy_tensor(shape, compute)


def _write_numbers(graph: ir.Graph, node: ir.Node, slot: int, entries: Mapping[int, int]) -> None:
    """Give a node its own copy of a vector of counts; one from the end counts from the end."""
    old = present(node.inputs[slot])
    numbers = weight_array(old).copy()
    for entry, count in entries.items():
        numbers[entry] = count if numbers[entry] >= 0 else -count
    node.replace_input_with(slot, add_initializer(graph, f"{node.name}.{slot}", numbers))
    if not old.uses():
        del graph.initializers[str(old.name)]


def _narrow(value: ir.Value, axis: int, size: int) -> None:
    if value.shape is not None and isinstance(value.shape[axis], int):
        sizes = list(value.shape)
        sizes[axis] = size
        value.shape = ir.Shape(sizes)
