"""A long model, run piece by piece over all samples; what lies between is kept on disk.

Repair looks at one group after the other, each time at what the groups before it have become. So
the model is cut where each group begins: at the tensors that its writers read. A piece reads the
tensors of the cut before it, of every sample in turn, and no work is done twice.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.graph import Array
from edgecompile.session import run, session


def find_cuts(graph: ir.Graph, starts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return, for each piece, the computed tensors that it and all later pieces read.

    `starts` names what must be known where each piece begins; pieces are in the graph's order.
    """
    makers = {str(v.name): node for node in graph for v in node.outputs}
    done: set[ir.Node] = set()
    cuts = []
    for names in starts:
        stack = [makers[name] for name in names if name in makers]
        while stack:
            node = stack.pop()
            if node not in done:
                done.add(node)
                stack += [p for v in node.inputs if v and (p := v.producer()) is not None]
        crossing = [
            str(v.name)
            for node in graph
            if node in done
            for v in node.outputs
            if any(user not in done for user in v.consumers())
        ]
        cuts.append(sorted({*crossing, *(name for name in names if name in makers)}))
    return cuts


class Piece:
    """A part of a graph between two cuts, ready to run."""

    def __init__(
        self, model: ir.Model, reads: Mapping[str, ir.DataType], gives: Sequence[str]
    ) -> None:
        """Take from a model what computes `gives` from `reads` and the model's inputs."""
        self.gives = list(dict.fromkeys(gives))
        if self.gives:
            taken = take_out(model, reads, self.gives)
            self.inputs = [str(value.name) for value in taken.graph.inputs]
            self.session = session(taken)

    def __call__(self, feed: Mapping[str, Array], number: int) -> dict[str, Array]:
        """Return what the piece gives for one sample."""
        if not self.gives:
            return {}
        arrays = run(self.session, self.gives, {n: feed[n] for n in self.inputs}, number)
        return dict(zip(self.gives, arrays, strict=True))


def take_out(model: ir.Model, reads: Mapping[str, ir.DataType], gives: Sequence[str]) -> ir.Model:
    """Return the part of a model that computes `gives` from `reads` and the model's inputs."""
    model = model.clone()
    own = {str(v.name): v for v in model.graph.inputs}
    values = own | {str(v.name): v for node in model.graph for v in node.outputs}
    for name, dtype in reads.items():
        value = values[name]
        rank = None if value.shape is None else len(value.shape)
        value.type = ir.TensorType(dtype)
        value.shape = None if rank is None else ir.Shape([None] * rank)
    ends = [values[name] for name in (*reads, *own)]
    needed = _reached([values[name] for name in gives], ends)
    graph = ir.convenience.extract(model.graph, [v for v in ends if v in needed], list(gives))
    return ir.Model(graph, ir_version=model.ir_version)


def _reached(gives: Sequence[ir.Value], ends: Sequence[ir.Value]) -> set[ir.Value]:
    """Return the values that some of `gives` depend on, no further back than the ends."""
    found: set[ir.Value] = set()
    stack = list(gives)
    while stack:
        value = stack.pop()
        if value in found:
            continue
        found.add(value)
        producer = value.producer()
        if value not in ends and producer is not None:
            stack += [v for v in producer.inputs if v is not None]
    return found


class Store:
    """Tensors of all samples in a file: written in turn, read in turn."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        """Name the file and the tensors; nothing is in it yet."""
        self.path, self.names = path, list(names)
        self.types: dict[str, ir.DataType] = {}

    def write(self, samples: Iterable[Mapping[str, Array]]) -> None:
        """Write the samples in turn."""
        with self.path.open("wb") as file:
            for arrays in samples:
                for name in self.names:
                    np.save(file, arrays[name], allow_pickle=False)
                    self.types[name] = ir.DataType.from_numpy(arrays[name].dtype)

    def read(self) -> Iterator[Feed]:
        """Read them."""
        if not self.names:
            yield from itertools.repeat({})
        with self.path.open("rb") as file:
            while file.peek(1):
                yield {name: np.load(file, allow_pickle=False) for name in self.names}
