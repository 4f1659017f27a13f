"""Let what works token by token read [S, C]: a Linear becomes one Gemm, with its bias in it.

    y = Add(MatMul(x[1, S, C], W), b)   ->   y = Gemm(x[S, C], W, b)

Reshapes stand only where something reads [1, S, C].
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import shapes_inferred, tokens_are_flat
from edgecompile.graph import (
    Linear,
    add_initializer,
    add_int64,
    dim,
    linears,
    present,
    sizes,
    substitute,
    sweep,
    weight_array,
)
from edgecompile.passes import rewrite

FLAT = ".flat"
"""How the name of a tensor over [S, C] ends; before it stands the canonical one's."""
TOKENWISE = frozenset({"Add", "Sub", "Mul", "Div", "Clip", "Gelu", "Relu", "Tanh", "Sigmoid"})


@rewrite(needs=[shapes_inferred], gives=[tokens_are_flat])
def flatten_tokens(model: ir.Model) -> ir.Model:
    """Linears, what is between them, and residuals over [S, C]."""
    model = model.clone()
    graph, flat = model.graph, dict[ir.Value, ir.Value]()
    first = {linear.matmul: linear for linear in linears(graph)}
    inside = {linear.add for linear in first.values() if linear.add is not None}
    for node in list(graph):
        if node in first:
            _flatten_linear(graph, first[node], flat)
        elif node in inside:
            continue
        elif node.op_type == "Reshape":
            _flatten_reshape(graph, node, flat)
        elif _is_tokenwise(node, flat):
            inputs = [_vector(graph, v) or _flatten(graph, node, v, flat) for v in node.inputs]
            _put(graph, [node], inputs, flat)
    model.metadata_props[tokens_are_flat.__name__] = "yes"
    return sweep(model)


def _flatten_linear(graph: ir.Graph, linear: Linear, flat: dict[ir.Value, ir.Value]) -> None:
    x = _flatten(graph, linear.matmul, linear.x, flat)
    bias = linear.bias
    if bias is None:
        zeros = np.zeros(dim(linear.weight, 1), np.float32)
        bias = add_initializer(graph, f"{linear.name}.bias_zero", zeros)
    gemm = ir.node("Gemm", [x, linear.weight, bias], name=linear.name)
    _substitute(graph, linear.nodes, gemm, flat)


def _is_tokenwise(node: ir.Node, flat: dict[ir.Value, ir.Value]) -> bool:
    """Say whether an operator reads something flat, and else only vectors and like shapes."""
    y = node.outputs[0]
    over = node.attributes.get("axis")
    norm = node.op_type == "LayerNormalization" and (over is None or over.as_int() == -1)
    if node.domain or not (norm or node.op_type in TOKENWISE):
        return False
    if len(node.outputs) > 1 or y.shape is None or len(y.shape) != 3:
        return False
    read = [v for v in node.inputs if v is not None]
    known = any(v in flat for v in read)
    return known and all(_is_vector(v) or v.shape == y.shape for v in read)


def _is_vector(value: ir.Value) -> bool:
    return value.is_initializer() and all(size == 1 for size in sizes(value)[:-1])


def _vector(graph: ir.Graph, value: ir.Value | None) -> ir.Value | None:
    """Return an initializer of one row as [C]."""
    if value is None or not _is_vector(value) or value.shape is None:
        return None
    if len(value.shape) < 2:
        return value
    return add_initializer(graph, f"{value.name}.row", weight_array(value).reshape(-1))


def _flatten_reshape(graph: ir.Graph, node: ir.Node, flat: dict[ir.Value, ir.Value]) -> None:
    """Read what was flat before; where [1, S, C] is made, make [S, C]."""
    x, y = present(node.inputs[0]), node.outputs[0]
    if x in flat:
        node.replace_input_with(0, flat[x])
    if y.shape is not None and len(y.shape) == 3 and y.shape[0] == 1:
        source = present(node.inputs[0])
        shape = add_int64(graph, *sizes(y)[1:])
        _substitute(graph, [node], ir.node("Reshape", [source, shape], name=node.name), flat)


def _flatten(
    graph: ir.Graph, before: ir.Node, value: ir.Value | None, flat: dict[ir.Value, ir.Value]
) -> ir.Value:
    """Return a tensor as [tokens, C]."""
    x = present(value)
    if x.shape is not None and len(x.shape) == 2:
        return x
    if x not in flat:
        *over, width = sizes(x)
        rows = int(np.prod(over))
        shape = add_int64(graph, rows, width)
        node = ir.node("Reshape", [x, shape], name=f"{x.name}{FLAT}")
        _name(node, f"{x.name}{FLAT}", (rows, width))
        graph.insert_before(before, node)
        flat[x] = node.outputs[0]
    return flat[x]


def _put(
    graph: ir.Graph, nodes: list[ir.Node], inputs: list[ir.Value], flat: dict[ir.Value, ir.Value]
) -> None:
    old = nodes[-1]
    new = ir.Node(old.domain, old.op_type, inputs, old.attributes.values(), name=old.name)
    _substitute(graph, nodes, new, flat)


def _substitute(
    graph: ir.Graph, nodes: list[ir.Node], new: ir.Node, flat: dict[ir.Value, ir.Value]
) -> None:
    """Put a node over [S, C] in place of nodes over [1, S, C]; a Reshape gives what they gave."""
    y = nodes[-1].outputs[0]
    *over, width = sizes(y)
    if len(over) == 1:
        substitute(graph, nodes, [new])
        return
    _name(new, f"{y.name}{FLAT}", (int(np.prod(over)), width))
    shape = add_int64(graph, *over, width)
    back = ir.node("Reshape", [new.outputs[0], shape], name=f"{y.name}.back")
    substitute(graph, nodes, [new, back])
    flat[back.outputs[0]] = new.outputs[0]


def _name(node: ir.Node, name: str, shape: tuple[int, ...]) -> None:
    value = node.outputs[0]
    value.name, value.shape = name, ir.Shape(shape)
    value.type = ir.TensorType(ir.DataType.FLOAT)
