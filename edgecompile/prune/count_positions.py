"""Where a graph states how many positions an axis has: what must be edited when some go."""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecompile.graph import constant
from edgecompile.prune.dependency import Y, slices
from edgecompile.prune.flood import Flood, Mark, Ports, at
from edgecompile.prune.group import Edit, Owners
from edgecompile.prune.measure_shapes import fixed

HAND_ON = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity"})
"""What hands the numbers of a shape on as they are."""
FOLLOWS = frozenset({"Shape", "Gather", "Slice", "Size"})
"""What reads a size from a tensor, which follows by itself."""


def edits_of(flood: Flood) -> list[Edit]:
    """Return the numbers that count what units own, in every node that was reached."""
    found: list[Edit] = []
    computed: dict[ir.Node, None] = {}
    for node in list(flood.nodes):
        found += _edits(Ports(node, flood), computed)
    for node in computed:
        for user in (user for value in node.outputs for user in value.consumers()):
            if user not in flood.nodes and user not in computed:
                Ports(node, flood).refuse(f"counts them, also for {at(user)}")
    return list({(edit.node, edit.slot, edit.entry): edit for edit in found}.values())


def _edits(ports: Ports, computed: dict[ir.Node, None]) -> Iterator[Edit]:
    node, mark = ports.node, ports.get(Y)
    name = str(node.name)
    if node.op_type in ("Reshape", "Expand") and mark is not None:
        yield from _target(ports, mark, computed)
    elif node.op_type == "Split":
        yield from _parts(ports)
    elif node.op_type == "Slice":
        yield from _range(ports)
    elif node.op_type == "Attention" and mark is not None:
        heads = node.attributes["q_num_heads"].as_int()
        owners = mark.owners.reshape(heads, -1)[:, 0]
        yield from (Edit(name, counts, 0, owners) for counts in ("q_num_heads", "kv_num_heads"))
    elif node.op_type == "Conv" and mark is not None:
        yield Edit(name, "group", 0, mark.owners)


def _target(ports: Ports, mark: Mark, computed: dict[ir.Node, None]) -> Iterator[Edit]:
    """Of a Reshape or Expand: the size of the axis, where it is stated."""
    entries = ports.axes(1)[0][0]
    before = ports.get(0)
    opened = [m for p, m in ((0, before), (Y, mark)) if m and fixed(ports.axes(p)[m.axis]) is None]
    for entry in range(entries):
        axis = entry + ports.rank(Y) - entries
        if axis == mark.axis or opened:
            owners = mark.owners if axis == mark.axis else mark.owners[:0]
            yield from _entry(ports, 1, entry, owners, computed)


def _entry(
    ports: Ports, slot: int, entry: int, owners: Owners, computed: dict[ir.Node, None]
) -> Iterator[Edit]:
    """Yield the edits of one number of a shape, however it was put together.

    It counts `owners`, or nothing: then it must not be computed from a count.
    """
    array = constant(ports.value(slot))
    maker = ports.value(slot).producer()
    if array is not None:
        if len(owners) and array.reshape(-1)[entry] == len(owners):
            yield Edit(str(ports.node.name), slot, entry, owners)
        return
    if maker is None or maker.op_type in FOLLOWS:
        return
    computed[maker] = None
    inner = Ports(maker, ports.flood)
    for number, place in _sources(inner, entry, len(owners)):
        yield from _entry(inner, number, place, owners, computed)


def _sources(ports: Ports, entry: int, count: int) -> list[tuple[int, int]]:
    """Return the inputs, and the place in each, that make one number of a shape."""
    if ports.node.op_type == "Concat":
        for number in range(len(ports.node.inputs)):
            size = ports.axes(number)[0][0]
            if entry < size:
                return [(number, entry)]
            entry -= size
    if ports.node.op_type in HAND_ON:
        return [(0, entry)]
    if ports.node.op_type == "Where" and (chosen := constant(ports.value(0))) is not None:
        return [(1 if chosen.reshape(-1)[entry] else 2, entry)]
    factors = [constant(ports.value(port)) for port in range(len(ports.node.inputs))]
    stated = any(f is not None and f.size == 1 and f.item() == count for f in factors)
    if ports.node.op_type != "Mul" or not stated:
        ports.refuse("counts them in a way that is not known")
    return [(0, 0), (1, 0)]


def _parts(ports: Ports) -> Iterator[Edit]:
    """Of a Split: the sizes of its parts; those that are equal must stay so."""
    axis = ports.node.attributes.get("axis")
    along = (axis.as_int() if axis else 0) % ports.rank(0)
    marks = [ports.get(~i) for i in range(len(ports.node.outputs))]
    if all(mark is None or mark.axis != along for mark in marks):
        return
    stated = len(ports.node.inputs) > 1 and ports.node.inputs[1] is not None
    counts = [None if m is None else np.unique(m.owners, return_counts=True) for m in marks]
    if not stated and any(not _same(counts[0], count) for count in counts):
        ports.refuse("splits them into parts that would not stay equal")
    for number, mark in enumerate(marks):
        if stated and mark is not None:
            yield Edit(str(ports.node.name), 1, number, mark.owners)


def _same(a: tuple[Owners, Owners] | None, b: tuple[Owners, Owners] | None) -> bool:
    if a is None or b is None:
        return a is b
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def _range(ports: Ports) -> Iterator[Edit]:
    """Of a Slice: where it starts and stops, where a position is stated that exists."""
    mark = ports.get(0)
    for entry, axis, start, stop in slices(ports):
        if mark is None or axis != mark.axis:
            continue
        for slot, place in ((1, start), (2, stop)):
            if place is not None and abs(place) < len(mark.owners) and place != 0:
                end = slice(place) if place > 0 else slice(place, None)
                yield Edit(str(ports.node.name), slot, entry, mark.owners[end])
