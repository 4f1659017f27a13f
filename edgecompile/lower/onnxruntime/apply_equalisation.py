"""Put the plan's equalising factors into the float graph; the result computes the same.

    y = Linear(x, W)   ->   y = Linear(Mul(x, 1 / s), s W)

Behind an attention the factors cost nothing: column j of its output is a mix of column j of v, so
v's Linear takes them (its weight and bias are divided by s).  SmoothQuant, Xiao et al. 2023, eq. 3.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import EQUALISED, equalised, linears_are_matmuls
from edgecompile.graph import (
    FloatArray,
    Linear,
    add_initializer,
    lazy_tensor,
    linears,
    present,
    sweep,
    weight_array,
    weight_tensor,
)
from edgecompile.passes import rewrite
from edgecompile.plan import Plan


@rewrite(needs=[linears_are_matmuls], gives=[equalised])
def apply_equalisation(model: ir.Model, plan: Plan) -> ir.Model:
    """Divide each planned activation by its factors and multiply the weights that read it."""
    return equalise(model, plan, into_values=True)


def equalise(model: ir.Model, plan: Plan, *, into_values: bool) -> ir.Model:
    """Return the equalised graph; behind an attention, v's Linear takes the factors if it may."""
    model = model.clone()
    readers: dict[str, list[Linear]] = {}
    by_output = {linear.y.name: linear for linear in linears(model.graph)}
    for linear in by_output.values():
        if linear.name not in plan.kept_float:
            readers.setdefault(str(linear.x.name), []).append(linear)
    planned = {linear.matmul for users in readers.values() for linear in users}
    scaled: set[ir.Value] = set()
    for name, activation in plan.activations.items():
        s = activation.smoothing
        if name not in readers or np.all(s == 1):
            continue
        value = readers[name][0].x
        _part_from_floats(model.graph, readers[name], planned)
        for weight in {linear.weight: None for linear in readers[name]}:
            if weight not in scaled:  # a plan gives all readers of a shared weight the same factors
                rescale(model.graph, weight, s[:, None])
                scaled.add(weight)
        count = len(readers[name])
        source = value_projection(value, by_output, count) if into_values else None
        if source is not None:
            rescale(model.graph, source.weight, 1 / s)
            if source.bias is not None:
                rescale(model.graph, source.bias, 1 / s)
        else:
            _multiply(model.graph, value, 1 / s, readers[name])
    model.metadata_props[EQUALISED] = "yes"
    return sweep(model)


def _part_from_floats(graph: ir.Graph, users: list[Linear], planned: set[ir.Node]) -> None:
    """Give a weight that stays float elsewhere a copy there, for it must not be scaled."""
    for weight in {user.weight: None for user in users}:
        others = [node for node in weight.consumers() if node not in planned]
        if others:
            copy = add_initializer(graph, f"{weight.name}.float", weight_array(weight))
            for node in others:
                for index, value in enumerate(node.inputs):
                    if value is weight:
                        node.replace_input_with(index, copy)


def rescale(graph: ir.Graph, value: ir.Value, factors: FloatArray) -> None:
    """Replace a weight by a scaled one: the caller's model keeps its own."""
    old = weight_tensor(value)
    new = lazy_tensor(old.shape.numpy(), lambda: (old.numpy() * factors).astype(np.float32))
    new.name = value.name
    graph.initializers[str(value.name)].const_value = new


def value_projection(
    context: ir.Value, by_output: dict[str | None, Linear], readers: int
) -> Linear | None:
    """Return the Linear that alone makes the v of the attention that makes `context`."""
    node = context.producer()
    if node is None or node.op_type != "Attention" or len(context.uses()) != readers:
        return None
    v = present(node.inputs[2])
    if context.is_graph_output() or v.is_graph_output() or len(v.uses()) != 1:
        return None
    source = by_output.get(v.name)
    if source is None or len(source.weight.uses()) != 1:
        return None
    return source if source.bias is None or len(source.bias.uses()) == 1 else None


def _multiply(graph: ir.Graph, value: ir.Value, factors: FloatArray, readers: list[Linear]) -> None:
    weight = add_initializer(graph, f"{value.name}.equalise", factors.astype(np.float32))
    node = ir.node("Mul", [value, weight], name=f"{value.name}.equalised")
    node.outputs[0].name = f"{value.name}.equalised"
    graph.insert_before(readers[0].matmul, node)
    for linear in readers:
        linear.matmul.replace_input_with(0, node.outputs[0])
