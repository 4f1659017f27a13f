"""What is coupled to a first tensor: ownership of positions spreads over a graph until it rests.

The flood starts at one tensor and goes forwards and backwards through every node that it wets. A
rule per operator (see `dependency.py`) says where ownership goes. Where two units turn out to be
one, as query heads that share a key head, they are merged.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import onnx_ir as ir

from edgecompile.parts import PAST, PRESENTS
from edgecompile.prune.group import STAYS, Owners
from edgecompile.prune.measure_shapes import Shapes, Size, fixed

Key = tuple[ir.Value, ir.Node | None, int]
"""A tensor; of an initializer that is a vector or a number, also who reads it.

Two layers share a matrix on purpose, but equal vectors were merged by chance.
"""


class RefusedError(Exception):
    """Why units cannot be taken out: one line, which `find_groups` hands on."""


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """Who owns the positions along an axis (counted from 0) of a tensor.

    Along an open axis, such as batch * heads, `owners` repeat.
    """

    axis: int
    owners: Owners


class Flood:
    """The tensors that units own a part of, and the nodes between them."""

    def __init__(self, rules: "Mapping[str, Rule]", shapes: Shapes, kind: str, units: int) -> None:
        """Start with `units` units that own nothing."""
        self.rules, self.shapes, self.kind = rules, shapes, kind
        self.merged = np.arange(units)
        self.marks: dict[Key, Mark] = {}
        self.nodes: dict[ir.Node, None] = {}
        self._waiting: dict[ir.Node, None] = {}

    def run(self, value: ir.Value, axis: int, owners: Owners) -> None:
        """Spread from a computed tensor; fail with the reason where units cannot be told apart."""
        self.put((value, None, 0), axis, owners)
        while self._waiting:
            node = next(iter(self._waiting))
            del self._waiting[node]
            self.nodes[node] = None
            known = not node.domain and self.shapes.of(node.outputs[0]) is not None
            rule = self.rules.get(node.op_type) if known else None
            if rule is None:
                msg = f"{at(node)} is not known to keep them apart"
                raise RefusedError(msg)
            rule(Ports(node, self))

    def get(self, key: Key) -> Mark | None:
        """Return who owns what of a tensor, by the units as merged so far."""
        mark = self.marks.get(key)
        return None if mark is None else Mark(mark.axis, self._resolve(mark.owners))

    def put(self, key: Key, axis: int, owners: Owners) -> None:
        """Note who owns the positions along an axis; an axis below 0 counts from the last."""
        value = key[0]
        sizes = self.axes(value)
        axis += len(sizes) if axis < 0 else 0
        if axis < 0 or np.all(owners == STAYS):
            return
        size = fixed(sizes[axis])
        if size == 1 and len(owners) > 1:
            return  # it broadcasts
        if any(number % len(owners) for number in sizes[axis]) or size not in (None, len(owners)):
            msg = f"axis {axis} of '{value.name}' is {size or 'open'}, not {len(owners)}"
            raise RefusedError(msg)
        before = self.get(key)
        if before is not None and before.axis != axis:
            msg = f"they meet in two axes of '{value.name}'"
            raise RefusedError(msg)
        if before is not None:
            owners = self._join(before.owners, self._resolve(owners))
        if before is None or not np.array_equal(before.owners, owners):
            _check_end(value, axis)
            self.marks[key] = Mark(axis, owners)
            self._wake(key)

    def axes(self, value: ir.Value) -> tuple[Size, ...]:
        """Return a tensor's axes; refuse one that no run showed."""
        sizes = self.shapes.of(value)
        if sizes is None:
            msg = f"the shape of '{value.name}' is not known"
            raise RefusedError(msg)
        return sizes

    def merge(self, a: int, b: int) -> None:
        """Make two units one."""
        low, high = sorted((int(self.merged[a]), int(self.merged[b])))
        if low != high:
            self.merged[self.merged == high] = low
            self._waiting.update(self.nodes)

    def _join(self, old: Owners, new: Owners) -> Owners:
        both = (old != STAYS) & (new != STAYS) & (old != new)
        for a, b in {(int(a), int(b)) for a, b in zip(old[both], new[both], strict=True)}:
            self.merge(a, b)
        return self._resolve(np.where(old == STAYS, new, old))

    def _resolve(self, owners: Owners) -> Owners:
        return np.where(owners == STAYS, STAYS, self.merged[owners])

    def _wake(self, key: Key) -> None:
        value, reader, _ = key
        near = [reader] if reader is not None else [value.producer(), *value.consumers()]
        self._waiting.update((node, None) for node in near if node is not None)


class Ports:
    """A node's inputs (0, 1, ...) and outputs (~0, ~1, ...) as a rule sees them."""

    def __init__(self, node: ir.Node, flood: Flood) -> None:
        """Look at one node."""
        self.node, self.flood = node, flood

    def __iter__(self) -> Iterator[int]:
        """Yield the ports that have a tensor."""
        yield from (i for i, value in enumerate(self.node.inputs) if value is not None)
        yield from (~i for i in range(len(self.node.outputs)))

    def value(self, port: int) -> ir.Value:
        """Return the tensor of a port."""
        value = self.node.inputs[port] if port >= 0 else self.node.outputs[~port]
        if value is None:
            self.refuse("lacks an input")
        return value

    def rank(self, port: int) -> int:
        """Return how many axes a port's tensor has."""
        return len(self.axes(port))

    def axes(self, port: int) -> tuple[Size, ...]:
        """Return the axes of a port's tensor."""
        return self.flood.axes(self.value(port))

    def get(self, port: int) -> Mark | None:
        """Return who owns what at a port."""
        return self.flood.get(self._key(port))

    def put(self, port: int, axis: int, owners: Owners) -> None:
        """Note who owns what at a port; an axis below 0 counts from the last."""
        self.flood.put(self._key(port), axis, owners)

    def marked(self) -> Iterator[tuple[int, Mark]]:
        """Yield the ports that units own a part of."""
        for port in self:
            mark = self.get(port)
            if mark is not None:
                yield port, mark

    def refuse(self, why: str) -> NoReturn:
        """Fail, naming this node."""
        msg = f"{at(self.node)} {why}"
        raise RefusedError(msg)

    def _key(self, port: int) -> Key:
        return key_of(self.value(port), self.node, port)


Rule = Callable[[Ports], None]


def key_of(value: ir.Value, node: ir.Node, port: int) -> Key:
    """Return under which key a node's tensor is marked."""
    alone = value.is_initializer() and value.shape is not None and len(value.shape) < 2
    return (value, node, port) if alone else (value, None, 0)


def at(node: ir.Node) -> str:
    """Return how a reason names a node."""
    return f"node '{node.name}' ({node.op_type})"


def is_cache(value: ir.Value) -> bool:
    """Say whether a graph input or output holds keys or values: [B, heads, S, d]."""
    return str(value.name).startswith((PAST, *PRESENTS))


def _check_end(value: ir.Value, axis: int) -> None:
    """Refuse what the world outside of the graph sees, unless it is the heads of a cache."""
    outside = value.is_graph_output() or value.is_graph_input()
    if outside and not (is_cache(value) and axis == 1):
        end = "output" if value.is_graph_output() else "input"
        msg = f"they reach the model's {end} '{value.name}'"
        raise RefusedError(msg)
