"""Where a graph states how many positions an axis has: what must be edited when some go."""

from collections.abc import Iterator

import numpy as np

from edgecompile.graph import constant
from edgecompile.prune.dependency import Y, slices
from edgecompile.prune.flood import Flood, Mark, Ports
from edgecompile.prune.group import Edit, Owners


def edits_of(flood: Flood) -> Iterator[Edit]:
    """Yield the numbers that count what units own, in every node that was reached."""
    for node in flood.nodes:
        ports = Ports(node, flood)
        mark = ports.get(Y)
        if node.op_type in ("Reshape", "Expand") and mark is not None:
            yield from _target(ports, mark)
        elif node.op_type == "Split":
            yield from _parts(ports)
        elif node.op_type == "Slice":
            yield from _range(ports)
        elif node.op_type == "Attention" and mark is not None:
            heads = node.attributes["q_num_heads"].as_int()
            owners = mark.owners.reshape(heads, -1)[:, 0]
            for name in ("q_num_heads", "kv_num_heads"):
                yield Edit(str(node.name), name, 0, owners)
        elif node.op_type == "Conv" and mark is not None:
            yield Edit(str(node.name), "group", 0, mark.owners)


def _target(ports: Ports, mark: Mark) -> Iterator[Edit]:
    """Of a Reshape or Expand: the size of the axis, where it is stated."""
    entry = mark.axis - ports.rank(Y) + ports.axes(1)[0][0]
    if entry >= 0:
        yield from _entry(ports, 1, entry, mark.owners)


def _entry(ports: Ports, slot: int, entry: int, owners: Owners) -> Iterator[Edit]:
    """Yield the edit of one entry of a vector, which may be put together from others."""
    node, vector = ports.node, ports.value(slot)
    array = constant(vector)
    if array is not None:
        if array.reshape(-1)[entry] == len(owners):
            yield Edit(str(node.name), slot, entry, owners)
        return
    maker = vector.producer()
    if maker is None or maker.op_type != "Concat":
        return  # a Shape, which follows by itself
    inner = Ports(maker, ports.flood)
    for number in range(len(maker.inputs)):
        size = inner.axes(number)[0][0]
        if entry < size:
            yield from _entry(inner, number, entry, owners)
            return
        entry -= size


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
