"""A canonical float graph -> a torch module with the same weights, and back.

Nodes become steps that run in order. They are cut into stretches, one an attention, each a module
that holds the weights that it alone reads: so training can be split by parameters.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgecompile.errors import UnsupportedError
from edgecompile.graph import Linear, linears, weight_tensor
from edgecompile.torch_graph.find_weights import MATRIX, find_weights
from edgecompile.torch_graph.operators import BY_SIZES, OPERATORS, Operator, attributes_of

Values = dict[str, Any]
"""Tensors by name; "" is an input that is left out."""
CUTS = ("Attention", "Softmax")
"""A stretch begins at the Linears of each attention; at these operators, to be exact."""
SMALL = 64
"""Integer constants of at most so many numbers are shapes and axes: they stay on the CPU."""
FakeLinear = Callable[[Linear], Callable[[Tensor, Tensor, Tensor | None], Tensor] | None]
"""For a Linear, the function that stands for y = x W + b, or None for that itself."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operator: what it reads, what it makes, and which tensors nobody reads after it."""

    run: Callable[[Sequence[Any]], Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    dead: tuple[str, ...] = ()


class Stretch(nn.Module):  # type: ignore[misc]
    """Some consecutive steps and the weights that only they read."""

    def __init__(self, steps: Sequence[Step], weights: Mapping[str, nn.Parameter]) -> None:
        """Keep the steps; register the weights, whose names may hold dots."""
        super().__init__()
        self.steps = steps
        self.names = list(weights)
        for index, weight in enumerate(weights.values()):
            self.register_parameter(f"w{index}", weight)

    def forward(self, values: Values) -> Values:
        """Run the steps; return all tensors that are still read afterwards."""
        values = values | {n: getattr(self, f"w{i}") for i, n in enumerate(self.names)}
        for step in self.steps:
            made = step.run([values.get(name) for name in step.inputs])
            for name, tensor in zip(step.outputs, _tuple(made), strict=False):
                values[name] = tensor
            for name in step.dead:
                values.pop(name, None)
        for name in self.names:
            del values[name]
        return values


class GraphModule(nn.Module):  # type: ignore[misc]
    """A graph that torch runs and differentiates.

    `wanted` are the tensors to return, the graph's outputs unless others are named; what none of
    them needs is not computed. Only weights are parameters; tables of rows (embeddings) are
    constants unless `tables`, and so is a weight that no wanted tensor depends on.
    """

    def __init__(
        self,
        model: ir.Model,
        wanted: Sequence[str] = (),
        *,
        tables: bool = False,
        fake: FakeLinear = lambda _: None,
    ) -> None:
        """Translate each node; raise UnsupportedError for an operator that is not known."""
        super().__init__()
        graph = model.graph
        self.inputs = [str(value.name) for value in graph.inputs]
        self.wanted = list(wanted) or [str(value.name) for value in graph.outputs]
        needed = _needed(graph, self.wanted)
        steps = _steps(graph, [node for node in graph if node in needed], self.wanted, fake)
        kinds = find_weights(graph)
        trained = {name for name, kind in kinds.items() if tables or kind == MATRIX}
        read = {name for step in steps for name in step.inputs}
        arrays = {n: weight_tensor(v).numpy() for n, v in graph.initializers.items() if n in read}
        self.constants: dict[str, str] = {}
        self.shapes: Values = {}
        for name in sorted(read & set(arrays) - trained):
            self._keep(name, torch.from_numpy(np.array(arrays[name])))
        pieces = _pieces(_freed(steps, {*self.wanted}))
        readers = {name: [p for p, s in enumerate(pieces) if _reads(s, name)] for name in trained}
        self.shared = Stretch([], _parameters(arrays, [n for n in trained if len(readers[n]) > 1]))
        own = [[n for n in trained if readers[n] == [p]] for p in range(len(pieces))]
        self.stretches = nn.ModuleList(
            Stretch(steps, _parameters(arrays, names))
            for steps, names in zip(pieces, own, strict=True)
        )

    def _keep(self, name: str, tensor: Tensor) -> None:
        if tensor.is_floating_point() or tensor.numel() > SMALL:
            self.constants[name] = f"c{len(self.constants)}"
            self.register_buffer(self.constants[name], tensor, persistent=False)
        else:
            self.shapes[name] = tensor

    def forward(self, feed: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the wanted tensors by name for a batch of inputs."""
        values: Values = dict(feed) | self.shapes
        values |= {name: getattr(self, place) for name, place in self.constants.items()}
        shared = self.shared
        values |= {n: getattr(shared, f"w{i}") for i, n in enumerate(shared.names)}
        for stretch in self.stretches:
            values = stretch(values)
        return {name: values[name] for name in self.wanted}

    def weights(self) -> dict[str, nn.Parameter]:
        """Return the parameters by the names of their initializers, sorted."""
        found = {
            name: getattr(stretch, f"w{index}")
            for stretch in (self.shared, *self.stretches)
            for index, name in enumerate(stretch.names)
        }
        return dict(sorted(found.items()))


def with_weights(model: ir.Model, weights: Mapping[str, Tensor]) -> ir.Model:
    """Return the graph with other weights, by the names of its initializers (float32)."""
    clone = model.clone()
    for name, weight in weights.items():
        array = weight.detach().cpu().numpy().copy()
        clone.graph.initializers[name].const_value = ir.Tensor(array, name=name)
    return clone


def reached(graph: ir.Graph, wanted: Sequence[str]) -> set[str]:
    """Return the names of all values that the wanted tensors depend on."""
    return {str(v.name) for node in _needed(graph, wanted) for v in _all_inputs(node)}


def _tuple(made: Any) -> tuple[Any, ...]:
    return made if isinstance(made, tuple) else (made,)


def _parameters(arrays: Mapping[str, Any], names: Iterable[str]) -> dict[str, nn.Parameter]:
    return {n: nn.Parameter(torch.from_numpy(np.array(arrays[n]))) for n in sorted(names)}


def _reads(steps: Sequence[Step], name: str) -> bool:
    return any(name in step.inputs for step in steps)


def _needed(graph: ir.Graph, wanted: Sequence[str]) -> set[ir.Node]:
    """Return the nodes that the wanted tensors depend on."""
    found: set[ir.Node] = set()
    missing = set(wanted)
    for node in reversed(list(graph)):
        if missing & {str(v.name) for v in node.outputs}:
            found.add(node)
            missing |= {str(v.name) for v in _all_inputs(node)}
    return found


def _all_inputs(node: ir.Node) -> list[ir.Value]:
    """Return what a node reads, that of its subgraphs included."""
    inner = [a.value for a in node.attributes.values() if isinstance(a.value, ir.Graph)]
    return [v for v in node.inputs if v is not None] + [
        value for graph in inner for n in graph for value in _all_inputs(n)
    ]


def _steps(
    graph: ir.Graph, nodes: Sequence[ir.Node], wanted: Sequence[str], fake: FakeLinear
) -> list[Step]:
    """Return a step a node, but one for both nodes of a Linear."""
    whole = {
        linear.nodes[-1]: linear
        for linear in linears(graph)
        if linear.add is None or str(linear.matmul.outputs[0].name) not in wanted
    }
    inside = {linear.matmul for linear in whole.values() if linear.add is not None}
    steps = []
    for node in nodes:
        if node in whole:
            steps.append(_linear_step(whole[node], fake))
        elif node not in inside:
            steps.append(_step(node))
    return steps


def _linear_step(linear: Linear, fake: FakeLinear) -> Step:
    inputs = [str(v.name) for v in (linear.x, linear.weight, linear.bias) if v is not None]
    run = fake(linear) or _multiply
    return Step(lambda x: run(*x), tuple(inputs), (str(linear.y.name),), linear.name)


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return functional.linear(x, weight.T, bias)


def _step(node: ir.Node) -> Step:
    inputs = tuple("" if v is None else str(v.name) for v in node.inputs)
    outputs = tuple(str(v.name) for v in node.outputs)
    place = f"node '{node.name}' is a {node.op_type}"
    if node.op_type == "If" and not node.domain:
        return _if_step(node, inputs, outputs)
    operator = None if node.domain else OPERATORS.get(node.op_type)
    if operator is None or (node.op_type == "Attention" and any(node.inputs[4:])):
        msg = f"{place}, which torch is not taught here; distill knows: {', '.join(OPERATORS)}"
        raise UnsupportedError(msg)
    return Step(_bind(node, operator), inputs, outputs, str(node.op_type))


def _bind(node: ir.Node, operator: Operator) -> Callable[[Sequence[Any]], Any]:
    attributes = attributes_of(node)
    if node.op_type in BY_SIZES:
        return lambda inputs: operator(attributes, inputs)
    return lambda inputs: operator(attributes, _on_one_device(inputs))


def _on_one_device(inputs: Sequence[Any]) -> Sequence[Any]:
    """Bring what was computed from shapes to the accelerator, where other inputs lie there."""
    there = next((t.device for t in inputs if t is not None and t.device.type != "cpu"), None)
    return inputs if there is None else [t if t is None else t.to(there) for t in inputs]


def _if_step(node: ir.Node, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Step:
    """If: the branch that its condition names, run as a graph of its own."""
    branches = {name: a.value for name, a in node.attributes.items()}
    outer = sorted({str(v.name) for v in _all_inputs(node)} - {*inputs})
    chosen = {}
    for name, graph in branches.items():
        constants = {
            n: torch.from_numpy(np.array(weight_tensor(v).numpy()))
            for n, v in graph.initializers.items()
        }
        results = [str(v.name) for v in graph.outputs]
        chosen[name] = (Stretch([_step(n) for n in graph], {}), constants, results)

    def run(x: Sequence[Any]) -> tuple[Any, ...]:
        branch, constants, results = chosen["then_branch" if bool(x[0]) else "else_branch"]
        values = branch(dict(zip(outer, x[1:], strict=True)) | constants)
        return tuple(values[name] for name in results)

    return Step(run, (*inputs, *outer), outputs, "If")


def _freed(steps: Sequence[Step], kept: set[str]) -> list[Step]:
    """Say of each step which tensors it is the last to read."""
    made = {name for step in steps for name in step.outputs}
    seen, result = set(kept), []
    for step in reversed(steps):
        dead = tuple(dict.fromkeys(n for n in step.inputs if n in made and n not in seen))
        seen.update(step.inputs)
        result.append(Step(step.run, step.inputs, step.outputs, step.name, dead))
    return result[::-1]


def _pieces(steps: Sequence[Step]) -> list[list[Step]]:
    """Cut the steps behind each attention."""
    pieces: list[list[Step]] = [[]]
    for step in steps:
        pieces[-1].append(step)
        if step.name in CUTS:
            pieces.append([])
    return [piece for piece in pieces if piece]
