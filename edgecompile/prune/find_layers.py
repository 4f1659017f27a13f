"""Find whole layers: what lies between two tensors of the residual stream, with one attention.

x -> [ attention, + x, LayerNormalization, FFN, +, LayerNormalization ] -> y      x, y: [B, S, E]

All that an attention does to the model's outputs goes through y, the input of the next layer. Such
tensors are the attention's post-dominators (Cooper et al. 2001, "A Simple, Fast Dominance
Algorithm"), and the last of them on the way to the next attention is the border.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.graph import linears
from edgecompile.prune.flood import is_cache
from edgecompile.prune.layer_names import common, name_of
from edgecompile.prune.measure_shapes import Shapes, measure_shapes


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the tensor that it reads, the one that it gives, the names of its Linears."""

    name: str
    reads: str
    gives: str
    linears: tuple[str, ...]


def find_layers(model: ir.Model) -> list[Layer]:
    """Return the layers that can be left out, in order; none of a decoder, which has a cache."""
    if any(is_cache(value) for value in (*model.graph.inputs, *model.graph.outputs)):
        return []
    return _Search(model.graph, measure_shapes(model)).layers()


class _Search:
    """What all borders are found from: who comes after whom in a graph."""

    def __init__(self, graph: ir.Graph, shapes: Shapes) -> None:
        self.graph, self.shapes = graph, shapes
        self.order = {node: number for number, node in enumerate(graph)}
        self.after = {node: _readers(node) for node in graph}
        self.next = self._post_dominators()

    def layers(self) -> list[Layer]:
        kinds = ("Attention", "Softmax")
        attentions = [n for n in self.graph if n.op_type in kinds and not n.domain]
        before = {node: self._before(node) for node in attentions}
        found: list[tuple[ir.Value, ir.Value]] = []
        entry: dict[ir.Node, ir.Value] = {}
        way: list[str] = []
        for node in attentions:
            chain = list(self._chain(node))
            follower = next((n for n in attentions if node in before[n]), None)
            border = _last(chain, before[follower]) if follower else _alike(chain, way)
            if border is None:
                continue
            if follower is not None:
                entry[follower] = border.outputs[0]
                way = [n.op_type for n in chain[: chain.index(border) + 1]]
            start = entry.get(node) or self._first(border.outputs[0], before[node])
            if start is not None and self._fits(start, border.outputs[0]):
                found.append((start, border.outputs[0]))
        return self._named(found)

    def _post_dominators(self) -> dict[ir.Node, ir.Node | None]:
        """Return the nearest node through which all that a node does must go; None is the end."""
        found: dict[ir.Node, ir.Node | None] = {}
        for node in reversed(self.graph):
            ways = self.after[node]
            meet = None if _ends(node) or not ways else ways[0]
            for other in ways[1:]:  # one inside of an If is not in the order
                meet = self._meet(found, meet, other) if other in self.order else None
            found[node] = meet if meet in self.order else None
        return found

    def _meet(
        self, found: Mapping[ir.Node, ir.Node | None], a: ir.Node | None, b: ir.Node | None
    ) -> ir.Node | None:
        while a is not b and a is not None and b is not None:
            if self.order[a] < self.order[b]:
                a = found[a]
            else:
                b = found[b]
        return a if a is b else None

    def _chain(self, node: ir.Node) -> Iterator[ir.Node]:
        step = self.next[node]
        while step is not None:
            yield step
            step = self.next[step]

    def _before(self, node: ir.Node) -> set[ir.Node]:
        found: set[ir.Node] = set()
        stack = [node]
        while stack:
            makers = [v.producer() for v in stack.pop().inputs if v is not None]
            new = [m for m in makers if m is not None and m not in found and m.op_type != "Shape"]
            found.update(new)
            stack += new
        return found

    def _first(self, border: ir.Value, before: set[ir.Node]) -> ir.Value | None:
        """Return what the first layer reads: it is read as its output is, by the same operators."""
        wanted = _kinds(border)
        alike = [n for n in before if _kinds(n.outputs[0]) == wanted]
        alike = [n for n in alike if self._same_shape(n.outputs[0], border)]
        return max(alike, key=self.order.__getitem__).outputs[0] if alike else None

    def _fits(self, start: ir.Value, end: ir.Value) -> bool:
        inside = self._inside(start, end)
        free = all(not v.is_graph_output() or v is end for n in inside for v in n.outputs)
        return free and self._same_shape(start, end)

    def _same_shape(self, a: ir.Value, b: ir.Value) -> bool:
        return self.shapes.of(a) is not None and self.shapes.of(a) == self.shapes.of(b)

    def _inside(self, start: ir.Value, end: ir.Value) -> set[ir.Node]:
        first, last = start.producer(), end.producer()
        if first is None or last is None:
            return set()
        return ({last} | self._before(last)) - {first} - self._before(first)

    def _named(self, borders: Sequence[tuple[ir.Value, ir.Value]]) -> list[Layer]:
        parts = [
            tuple(name_of(x) for x in linears(self.graph) if x.matmul in self._inside(*border))
            for border in borders
        ]
        names = [common(part) for part in parts]
        if "" in names or len(set(names)) < len(names):
            names = [f"layer.{number}" for number in range(len(names))]
        return [
            Layer(name, str(start.name), str(end.name), part)
            for name, (start, end), part in zip(names, borders, parts, strict=True)
        ]


def _readers(node: ir.Node) -> list[ir.Node]:
    users = dict.fromkeys(user for value in node.outputs for user in value.consumers())
    return [user for user in users if user.op_type != "Shape"]


def _ends(node: ir.Node) -> bool:
    return any(value.is_graph_output() for value in node.outputs)


def _last(chain: Sequence[ir.Node], before: set[ir.Node]) -> ir.Node | None:
    return next((node for node in reversed(chain) if node in before), None)


def _alike(chain: Sequence[ir.Node], way: Sequence[str]) -> ir.Node | None:
    """Return where the last layer ends: as far from its attention as the one before does."""
    same = way and [node.op_type for node in chain[: len(way)]] == list(way)
    return chain[len(way) - 1] if same else None


def _kinds(value: ir.Value) -> Counter[tuple[str, int]]:
    return Counter((n.op_type, slot) for n, slot in value.uses() if n.op_type != "Shape")
