"""The search for an attention among operators, by what the probe saw of their tensors.

It starts at a Softmax (or at an Attention of [B, heads, S, d] tensors), walks up to three tensors
[B, S, E] and down to y [B, S, E], and accepts them only if numpy's attention of the three gives y
in every run of the probe. The bias is the padding bias of attention_mask, else whatever was added
to the scores, else none.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.attention import attend
from edgecompile.attention_bias import Guess, fits, guess_biases
from edgecompile.graph import (
    FloatArray,
    Linear,
    add_initializer,
    constant,
    linears,
    present,
    weight_of,
)
from edgecompile.probe import Probe, close

LIMIT = 400
"""Operators that a search may visit before it gives up."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where a search starts: tensors that make the scores and the values, and what mixes them.

    `added` is what the scores get before the softmax; `rows` is the number of rows of scores in
    the probe's first run.
    """

    scores: Sequence[ir.Value]
    values: ir.Value
    mixed: ir.Node
    added: Sequence[ir.Value]
    rows: int


@dataclass(frozen=True, slots=True)
class Found:
    """An attention: its three inputs, output, heads, scale, and what its bias is the sum of."""

    qkv: tuple[ir.Value, ir.Value, ir.Value]
    y: ir.Value
    heads: int
    scale: float
    bias: Sequence[ir.Value | str]


class AttentionSearch:
    """Searches from one start after the other, and what they share."""

    def __init__(self, graph: ir.Graph, probe: Probe) -> None:
        """Find the Linears of a graph and all that is made of them."""
        self.graph, self.probe = graph, probe
        self.projections = {linear.y: linear for linear in linears(graph)}
        self.projected = set(self.projections)
        for node in graph:
            reads = any(v in self.projected for v in node.inputs)
            if reads and node.op_type not in ("Shape", "Size"):
                self.projected.update(node.outputs)

    def run(self, node: ir.Node) -> Found | None:
        """Return the attention around a Softmax or an Attention, if it is one."""
        start = self._start(node)
        if start is None:
            return None
        scored, met = self._sources(*start.scores)
        valued, _ = self._sources(start.values)
        guesses = list(guess_biases(self.probe, start.added, met))
        for y in self._outputs(start.mixed):
            wanted = self.probe.of(y)
            if wanted is None or wanted[0].ndim != 3:
                continue
            heads = start.rows // (wanted[0].shape[0] * wanted[0].shape[1])
            for qkv in self._candidates(scored, valued, heads):
                found = self._verify(qkv, y, heads, guesses)
                if found is not None:
                    return found
        return None

    def _start(self, node: ir.Node) -> Start | None:
        if node.op_type == "Softmax":
            weights, mix = self.probe.of(node.outputs[0]), self._mix(node)
            if weights is None or mix is None:
                return None
            scores = present(node.inputs[0])
            rows = weights[0].size // weights[0].shape[-1]
            return Start([scores], mix[1], mix[0], self._added(scores), rows)
        q, k, v, *rest = node.inputs
        seen = self.probe.of(q)
        if seen is None or seen[0].ndim != 4 or len(rest) > 1:
            return None
        added, rows = [v for v in rest if v is not None], seen[0].size // seen[0].shape[-1]
        return Start([present(q), present(k), *added], present(v), node, added, rows)

    def _mix(self, softmax: ir.Node) -> tuple[ir.Node, ir.Value] | None:
        """Return the MatMul of weights and values, and its values."""
        value = softmax.outputs[0]
        for _ in range(4):
            users = value.consumers()
            for user in users:
                if user.op_type == "MatMul" and user.inputs[0] is value:
                    return user, present(user.inputs[1])
            onward = [u for u in users if u.op_type in ("Where", "Cast", "Reshape", "Mul")]
            if not onward:
                return None
            value = onward[0].outputs[0]
        return None

    def _added(self, value: ir.Value) -> list[ir.Value]:
        """Return what a chain of Adds above a Softmax adds to what comes from the projections."""
        found: list[ir.Value] = []
        while (node := value.producer()) is not None:
            onward = [v for v in node.inputs if v in self.projected]
            if node.op_type not in ("Add", "Flatten", "Cast") or len(onward) != 1:
                break
            found += [v for v in node.inputs if v is not None and v is not onward[0]]
            value = present(onward[0])
        return found

    def _sources(self, *values: ir.Value) -> tuple[list[ir.Value], list[ir.Value]]:
        """Return the projections that tensors are made of, and what else goes into them."""
        found: list[ir.Value] = []
        met: list[ir.Value] = []
        stack = [*reversed(values)]
        seen: set[ir.Value] = set()
        while stack and len(seen) < LIMIT:
            v = stack.pop()
            if v in seen or v.is_initializer():
                continue
            seen.add(v)
            node = v.producer()
            if v in self.projections:
                found.append(v)
            elif v not in self.projected or node is None:
                met.append(v)
            else:
                stack += [i for i in reversed(node.inputs) if i is not None]
        return ([] if stack else found), met

    def _outputs(self, mixed: ir.Node) -> Iterator[ir.Value]:
        """Yield the [B, S, E] tensors below the mixing MatMul, the last first."""
        below: list[ir.Value] = []
        value = mixed.outputs[0]
        while True:
            users = value.consumers()
            if len(users) != 1 or users[0].op_type not in ("Transpose", "Reshape", "Cast"):
                break
            value = users[0].outputs[0]
            below.append(value)
        yield from reversed(below)

    def _candidates(
        self, scored: list[ir.Value], valued: list[ir.Value], heads: int
    ) -> Iterator[tuple[ir.Value, ir.Value, ir.Value]]:
        if len(scored) == 2 and len(valued) == 1:
            yield (*scored, valued[0])  # type: ignore[misc]
            yield (scored[1], scored[0], valued[0])
        elif len(scored) == 1 and scored == valued:
            yield from self._split(self.projections[scored[0]], heads)

    def _split(self, packed: Linear, heads: int) -> Iterator[tuple[ir.Value, ir.Value, ir.Value]]:
        """Yield q, k, v of a joint Linear [in, 3E]: side by side, then by turns in each head."""
        weight, bias = constant(packed.weight), constant(packed.bias)
        if weight is None or heads < 1 or weight.shape[1] % (3 * heads):
            return
        numbers = np.arange(weight.shape[1])
        turns = numbers.reshape(heads, 3, -1).swapaxes(0, 1)
        for columns in (numbers.reshape(3, -1), turns.reshape(3, -1)):
            parts = []
            for part, chosen in zip(("query", "key", "value"), columns, strict=True):
                name, tape = f"{packed.name}.{part}", ir.tape.Tape()
                w = add_initializer(self.graph, f"{name}.weight", weight[:, chosen])
                y = tape.op("MatMul", [packed.x, w], name=f"{name}.matmul")
                if bias is not None:
                    b = add_initializer(self.graph, f"{name}.bias", bias[chosen])
                    y = tape.op("Add", [y, b], name=f"{name}.add")
                for node in tape.nodes:
                    node.outputs[0].name = node.name
                self.graph.insert_after(packed.nodes[-1], list(tape.nodes))
                parts.append(y)
            yield parts[0], parts[1], parts[2]

    def _verify(
        self,
        qkv: tuple[ir.Value, ir.Value, ir.Value],
        y: ir.Value,
        heads: int,
        guesses: list[Guess],
    ) -> Found | None:
        """Compare numpy's attention of q, k, v with y, in every run."""
        wanted = self.probe.of(y)
        arrays = [a for value in qkv if (a := self._arrays(value)) is not None]
        if wanted is None or len(arrays) != 3 or any(a[0].ndim != 3 for a in arrays):
            return None
        if heads < 1 or any(a[0].shape[-1] % heads for a in arrays):
            return None
        q, k, v = (a[0].shape for a in arrays)
        if q[2] != k[2] or k[:2] != v[:2]:
            return None
        runs = list(zip(zip(*arrays, strict=True), wanted, strict=True))
        for scale in (1 / math.sqrt(arrays[0][0].shape[-1] / heads), 1.0):
            for bias, values in guesses:
                same = (
                    fits(b, inputs, heads) and close(attend(inputs, b, heads, scale), y_array)
                    for b, (inputs, y_array) in zip(values, runs, strict=True)
                )
                if all(same):
                    return Found(qkv, y, heads, scale, bias)
        return None

    def _arrays(self, value: ir.Value) -> tuple[FloatArray, ...] | None:
        """Return what the probe saw, or compute a freshly split projection."""
        seen = self.probe.of(value)
        if seen is not None:
            return seen
        linear = next(linear for linear in linears(self.graph) if linear.y is value)
        x, weight, bias = self.probe.of(linear.x), weight_of(linear), constant(linear.bias)
        if x is None:
            return None
        return tuple(a @ weight + (np.float32(0) if bias is None else bias) for a in x)
