"""Put the equalising factors where rknn-toolkit2 does not draw them back into the weights.

A Mul before a Linear it folds into the Linear, and all is as before (0.916 on MiniLM). It keeps:

    y = LayerNormalization(r, g, b)   ->   y / s: g / s and b / s, and s goes into its Linears
    r = Add(f, y)                     ->   r = Mul(Add(f / t, Mul(y / s, s / t)), t)
    h = Gelu(x)                       ->   h / s = Clip(Mul(h, 1 / s), -60,000, 60,000)

f / t is in the weight and the bias of the Linear that makes f. Behind an attention, v's Linear
takes the factors. s is the plan's for what a Linear reads, t for what it gives.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from edgecompile.facts import equalised, is_residual, linears_are_matmuls
from edgecompile.graph import (
    FloatArray,
    Linear,
    add_initializer,
    linears,
    present,
    sweep,
    weight_array,
)
from edgecompile.lower.onnxruntime.apply_equalisation import equalise, rescale, value_projection
from edgecompile.lower.qnn.apply_equalisation import plain
from edgecompile.passes import rewrite
from edgecompile.plan import Plan

LIMIT = 6e4
"""Below float16's largest number, 65,504: the Clip changes nothing, and no rule folds across it."""


@rewrite(needs=[linears_are_matmuls], gives=[equalised])
def apply_equalisation(model: ir.Model, plan: Plan) -> ir.Model:
    """Apply the plan's factors; what is computed stays the same."""
    model = _equalise_values(model, plan)
    writer = _Writer(model.graph, plan)
    for name, users in _readers(model.graph, plan).items():
        writer.divide(users, plan.activations[name].smoothing)
    by_output = {linear.y: linear for linear in linears(model.graph)}
    for add in [node for node in model.graph if node.op_type == "Add" and is_residual(node)]:
        writer.scale_residual(add, by_output)
    writer.restore()
    return sweep(model)


def _equalise_values(model: ir.Model, plan: Plan) -> ir.Model:
    """Apply the factors behind attentions: v's Linears take them."""
    by_output = {linear.y.name: linear for linear in linears(model.graph)}
    free = {
        str(linear.x.name)
        for linear in by_output.values()
        if value_projection(linear.x, by_output, len(linear.x.uses())) is not None
    }
    activations = {n: a if n in free else plain(a) for n, a in plan.activations.items()}
    return equalise(model, replace(plan, activations=activations), into_values=True)


def _readers(graph: ir.Graph, plan: Plan) -> Mapping[str, list[Linear]]:
    """Return the Linears of the plan by what they read, where nothing else reads their weights.

    What an attention gives is not in it: that is equalised by now.
    """
    found: dict[str, list[Linear]] = {}
    for linear in linears(graph):
        name, producer = str(linear.x.name), linear.x.producer()
        behind = producer is not None and producer.op_type == "Attention"
        if name in plan.activations and linear.name not in plan.kept_float and not behind:
            found.setdefault(name, []).append(linear)
    return {name: users for name, users in found.items() if _own_weights(users)}


def _own_weights(users: list[Linear]) -> bool:
    known = {user.matmul for user in users}
    return all(known.issuperset(user.weight.consumers()) for user in users)


@dataclass(slots=True)
class _Writer:
    """The graph that is changed, the tensors that are y / s now, and the nodes that know it."""

    graph: ir.Graph
    plan: Plan
    divided: dict[ir.Value, FloatArray] = field(default_factory=dict)
    aware: set[ir.Node] = field(default_factory=set)

    def divide(self, users: list[Linear], s: FloatArray) -> None:
        """Let Linears read x / s."""
        if np.all(s == 1):
            return
        for weight in {user.weight: None for user in users}:
            rescale(self.graph, weight, s[:, None])
        x = users[0].x
        norm = x.producer()
        matmuls = [user.matmul for user in users]
        if norm is None or norm.op_type != "LayerNormalization" or x.is_graph_output():
            self._multiply_and_clip(x, s, matmuls)
            return
        for index, value in enumerate(norm.inputs[1:], 1):
            if value is not None:
                array = (weight_array(value) / s).astype(np.float32)
                scaled = add_initializer(self.graph, f"{value.name}.equalised", array)
                norm.replace_input_with(index, scaled)
        self.divided[x] = s
        self.aware.update(matmuls)

    def _multiply_and_clip(self, x: ir.Value, s: FloatArray, readers: list[ir.Node]) -> None:
        mul = self._mul(x, 1 / s, f"{x.name}.scaled")
        limits = [
            self.graph.initializers.get(name)
            or add_initializer(self.graph, name, np.array(limit, np.float32))
            for name, limit in (("clip.low", -LIMIT), ("clip.high", LIMIT))
        ]
        clip = ir.node("Clip", [mul.outputs[0], *limits], name=f"{x.name}.equalised")
        clip.outputs[0].name = clip.name
        self.graph.insert_before(readers[0], [mul, clip])
        for node in readers:
            node.replace_input_with(0, clip.outputs[0])

    def scale_residual(self, add: ir.Node, by_output: Mapping[ir.Value, Linear]) -> None:
        """Add f / t and x / t, then multiply by t; x may be divided by s already."""
        a, b = (present(value) for value in add.inputs)
        f, x = (b, a) if b in by_output and a not in by_output else (a, b)
        linear = by_output.get(f)
        t = self._output_factors(linear)
        if linear is not None and t is not None:
            for value in (linear.weight, linear.bias):
                if value is not None:
                    rescale(self.graph, value, 1 / t)
        factor = self.divided.get(x, np.ones(1, np.float32)) / (1 if t is None else t)
        if not np.all(factor == 1):
            mul = self._mul(x, factor, f"{add.name}.residual")
            self.graph.insert_before(add, mul)
            self.aware.add(mul)
            add.replace_input_with(list(add.inputs).index(x), mul.outputs[0])
        if t is not None:
            self._multiply_behind(add, t)

    def _output_factors(self, linear: Linear | None) -> FloatArray | None:
        """Return t of a Linear whose output nothing else reads, and whose weights are its own."""
        seen = self.plan.outputs.get(str(linear.y.name)) if linear is not None else None
        if linear is None or seen is None or np.all(seen.smoothing == 1):
            return None
        own = [linear.y, linear.weight, *([] if linear.bias is None else [linear.bias])]
        alone = all(len(value.uses()) == 1 for value in own) and not linear.y.is_graph_output()
        return seen.smoothing if alone else None

    def _multiply_behind(self, node: ir.Node, factor: FloatArray) -> None:
        """Multiply what a node gives, for all that read it; the product takes its name."""
        y = node.outputs[0]
        name, uses, output = str(y.name), list(y.uses()), y.is_graph_output()
        y.name = f"{name}.divided"
        mul = self._mul(y, factor, name)
        self.graph.insert_after(node, mul)
        for user, index in uses:
            user.replace_input_with(index, mul.outputs[0])
        if output:
            self.graph.outputs[list(self.graph.outputs).index(y)] = mul.outputs[0]

    def restore(self) -> None:
        """Give y itself to those that do not know that it is y / s."""
        for x, s in self.divided.items():
            others = [(node, index) for node, index in x.uses() if node not in self.aware]
            if others:
                mul = self._mul(x, s, f"{x.name}.restored")
                self.graph.insert_before(others[0][0], mul)
                for node, index in others:
                    node.replace_input_with(index, mul.outputs[0])

    def _mul(self, x: ir.Value, factor: FloatArray, name: str) -> ir.Node:
        value = add_initializer(self.graph, f"{name}.factor", factor.astype(np.float32))
        node = ir.node("Mul", [x, value], name=name)
        y = node.outputs[0]
        y.name, y.shape, y.type = name, x.shape, x.type
        return node
