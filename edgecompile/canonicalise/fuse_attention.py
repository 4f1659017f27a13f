"""Recognise multi-head attention in whatever form it was written, by what it computed.

    q = Linear(x)   k = Linear(x)   v = Linear(x)          (or one Linear, split afterwards)
    Reshape, Transpose, MatMul, Mul or Div, Add or Where, Softmax, MatMul, Transpose, Reshape
                                                  ->   y = Attention(q, k, v, bias)

The search starts at a Softmax, walks up to three tensors [B, S, E] and down to y [B, S, E], and
accepts them only if numpy's attention of the three gives y in every run of the probe. The bias is
the padding bias of attention_mask, else whatever was added to the scores, else none.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.attention import attend, padding_bias
from edgecompile.facts import linears_are_matmuls, no_identity
from edgecompile.graph import (
    FloatArray,
    Linear,
    add_initializer,
    constant,
    linears,
    present,
    substitute,
    sweep,
    weight_of,
)
from edgecompile.passes import rewrite
from edgecompile.probe import Probe, close, depends_on

MASK = "attention_mask"
LIMIT = 400
"""Operators that a search may visit before it gives up."""


@dataclass(frozen=True, slots=True)
class Found:
    """An attention: its three inputs, output, heads, scale, and the bias or None."""

    q: ir.Value
    k: ir.Value
    v: ir.Value
    y: ir.Value
    heads: int
    scale: float
    bias: ir.Value | None


@rewrite(needs=[linears_are_matmuls, no_identity])
def fuse_attention(model: ir.Model, probe: Probe) -> ir.Model:
    """Write the operators of an attention as one Attention."""
    model = model.clone()
    graph = model.graph
    content = depends_on(graph)
    projections = {linear.y: linear for linear in linears(graph)}
    padding: list[ir.Value] = []
    for number, softmax in enumerate([n for n in graph if n.op_type == "Softmax"]):
        search = _Search(graph, probe, content, projections, padding)
        found = search.run(softmax)
        if found is None:
            continue
        inputs = [found.q, found.k, found.v, *([found.bias] if found.bias is not None else [])]
        attributes = {"q_num_heads": found.heads, "kv_num_heads": found.heads, "scale": found.scale}
        name = f"attention.{number}"
        node = ir.node("Attention", inputs, attributes, name=name)
        producer = found.y.producer()
        if producer is not None:
            substitute(graph, [producer], [node])
    return sweep(model)


class _Search:
    """One search from one Softmax."""

    def __init__(
        self,
        graph: ir.Graph,
        probe: Probe,
        content: dict[ir.Value, frozenset[str]],
        projections: dict[ir.Value, Linear],
        padding: list[ir.Value],
    ) -> None:
        self.graph, self.probe, self.content = graph, probe, content
        self.projections, self.padding = projections, padding

    def run(self, softmax: ir.Node) -> Found | None:
        """Return the attention around a Softmax, if it is one."""
        mix = self._mix(softmax)
        if mix is None:
            return None
        mixed, values = mix
        scored = self._sources(present(softmax.inputs[0]))
        valued = self._sources(values)
        if scored is None or valued is None:
            return None
        for y in self._outputs(mixed):
            for q, k, v in self._candidates(scored, valued):
                found = self._verify((q, k, v), y, softmax)
                if found is not None:
                    return found
        return None

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

    def _sources(self, value: ir.Value) -> list[ir.Value] | None:
        """Return the projections that a tensor is made of, in the order of the walk up."""
        found: list[ir.Value] = []
        stack, seen = [value], set()
        while stack:
            v = stack.pop()
            if v in seen or not self.content.get(v) or self.content[v] <= {MASK}:
                continue
            seen.add(v)
            if v in self.projections:
                found.append(v)
                continue
            node = v.producer()
            if node is None or len(seen) > LIMIT:
                return None
            stack += [i for i in reversed(node.inputs) if i is not None]
        return found

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
        self, scored: list[ir.Value], valued: list[ir.Value]
    ) -> Iterator[tuple[ir.Value, ir.Value, ir.Value]]:
        if len(scored) == 2 and len(valued) == 1:
            yield (*scored, valued[0])  # type: ignore[misc]
            yield (scored[1], scored[0], valued[0])
        elif len(scored) == 1 and scored == valued:
            yield from self._split(self.projections[scored[0]])

    def _split(self, packed: Linear) -> Iterator[tuple[ir.Value, ir.Value, ir.Value]]:
        """Yield q, k, v of a joint Linear [in, 3E]: side by side."""
        weight, bias = constant(packed.weight), constant(packed.bias)
        if weight is None or weight.shape[1] % 3:
            return
        width = weight.shape[1] // 3
        parts = []
        for index, part in enumerate(("query", "key", "value")):
            columns = slice(index * width, (index + 1) * width)
            name, tape = f"{packed.name}.{part}", ir.tape.Tape()
            w = add_initializer(self.graph, f"{name}.weight", weight[:, columns])
            y = tape.op("MatMul", [packed.x, w], name=f"{name}.matmul")
            if bias is not None:
                b = add_initializer(self.graph, f"{name}.bias", bias[columns])
                y = tape.op("Add", [y, b], name=f"{name}.add")
            y.name = f"{name}.{index}"
            self.graph.insert_after(packed.nodes[-1], list(tape.nodes))
            parts.append(y)
        yield parts[0], parts[1], parts[2]

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

    def _verify(
        self, qkv: tuple[ir.Value, ir.Value, ir.Value], y: ir.Value, softmax: ir.Node
    ) -> Found | None:
        """Compare numpy's attention of q, k, v with y, in every run."""
        wanted, weights = self.probe.of(y), self.probe.of(softmax.outputs[0])
        arrays = [a for value in qkv if (a := self._arrays(value)) is not None]
        if wanted is None or weights is None or len(arrays) != 3:
            return None
        if any(a[0].ndim != 3 for a in (*arrays, wanted)):
            return None
        heads = weights[0].shape[1]
        if weights[0].ndim == 3:  # [B heads, S, S]
            heads = weights[0].shape[0] // wanted[0].shape[0]
        width = arrays[0][0].shape[-1]
        if heads < 1 or any(a[0].shape[-1] % heads for a in arrays):
            return None
        runs = list(zip(zip(*arrays, strict=True), wanted, strict=True))
        for scale in (1 / math.sqrt(width / heads), 1.0):
            for bias, values in self._biases(softmax):
                same = (
                    _fits(b, inputs, heads) and close(attend(inputs, b, heads, scale), y_array)
                    for b, (inputs, y_array) in zip(values, runs, strict=True)
                )
                if all(same):
                    value = self._padding() if bias == MASK else bias
                    return Found(*qkv, y, heads, scale, value)  # type: ignore[arg-type]
        return None

    def _biases(
        self, softmax: ir.Node
    ) -> Iterator[tuple[ir.Value | str | None, tuple[FloatArray, ...]]]:
        """Yield what may have been added to the scores, with its arrays."""
        names = {str(v.name) for v in self.graph.inputs}
        if MASK in names:
            masks = [feed[MASK] for feed in self.probe.feeds]
            yield MASK, tuple((1.0 - m[:, None, None, :].astype(np.float32)) * -1e4 for m in masks)
        zero = np.zeros((1, 1, 1, 1), np.float32)
        yield None, (zero,) * len(self.probe.feeds)
        node = present(softmax.inputs[0]).producer()
        if node is not None and node.op_type == "Add":
            for value in node.inputs:
                seen = self.probe.of(value)
                if seen is not None and seen[0].ndim == 4:
                    yield value, seen

    def _padding(self) -> ir.Value:
        """Return the padding bias, made once for the graph."""
        if not self.padding:
            (mask,) = (v for v in self.graph.inputs if v.name == MASK)
            nodes = padding_bias(self.graph, mask)
            self.graph.insert_before(self.graph[0], nodes)
            self.padding.append(nodes[-1].outputs[0])
        return self.padding[0]


def _fits(bias: FloatArray, arrays: Sequence[FloatArray], heads: int) -> bool:
    """Say whether a bias broadcasts to the scores [B, heads, S, T]."""
    q, k = arrays[0].shape, arrays[1].shape
    scores = (q[0], heads, q[1], k[1])
    return bias.ndim == 4 and all(d in (1, s) for d, s in zip(bias.shape, scores, strict=True))
