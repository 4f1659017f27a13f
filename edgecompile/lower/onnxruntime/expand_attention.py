"""Write attention as the target's onnxruntime runs it fastest.

First the three projections of one tensor become one Linear, then one of two forms:

    q, k, v = Linear(x) x 3        ->  qkv = Linear(x)                           [B, S, 3E]

    y = Attention(q, k, v, bias)   ->  operator: y = Attention(Split(qkv), Expand(bias))
                                   ->  packed:   q, k, v = Split(Transpose(Reshape(qkv)))
                                                 p = Softmax(FusedMatMul(q, k) + bias)
                                                 y = Reshape(Transpose(p @ v))    [B, S, E]
"""

import numpy as np
import onnx_ir as ir

from edgecompile.attention import bias_of, heads_of, join_heads, scale_of, split_heads
from edgecompile.facts import attention_runs, equalised
from edgecompile.graph import (
    MICROSOFT,
    Linear,
    add_initializer,
    add_int64,
    constant,
    dim,
    lazy_tensor,
    linears,
    present,
    substitute,
    sweep,
    weight_tensor,
)
from edgecompile.passes import rewrite
from edgecompile.plan import Plan
from edgecompile.target import Target


@rewrite(needs=[equalised], gives=[attention_runs])
def expand_attention(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """Attention -> the form that the target's file names."""
    model = model.clone()
    masks: dict[ir.Value, ir.Value] = {}
    joined: dict[tuple[ir.Value, ...], tuple[ir.Value, ir.Value]] = {}
    for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
        packed = _pack(model.graph, node, plan, joined)
        tape = ir.tape.Tape()
        if target.forms.attention == "operator":
            _operator(model.graph, tape, node, packed, masks)
        else:
            _heads(model.graph, tape, node, packed)
        substitute(model.graph, [node], tape.nodes)
    return sweep(model)


def _pack(
    graph: ir.Graph,
    node: ir.Node,
    plan: Plan,
    joined: dict[tuple[ir.Value, ...], tuple[ir.Value, ir.Value]],
) -> ir.Value | None:
    """Join the Linears of q, k and v into one, if they read one tensor and none stays float.

    Layers that share their weights share the joined ones.
    """
    by_output = {linear.y: linear for linear in linears(graph)}
    found = [by_output.get(present(value)) for value in node.inputs[:3]]
    parts = [p for p in found if p is not None and p.bias is not None and len(p.y.uses()) == 1]
    parts = [p for p in parts if p.name not in plan.kept_float and not p.y.is_graph_output()]
    if len(parts) != 3 or len({(p.x, dim(p.weight, 1)) for p in parts}) != 1:
        return None
    name, tape = f"{node.name}.qkv", ir.tape.Tape()
    key = tuple(v for p in parts for v in (p.weight, p.bias) if v is not None)
    if key not in joined:
        weights = [weight_tensor(p.weight) for p in parts]
        shape = (dim(parts[0].weight, 0), 3 * dim(parts[0].weight, 1))
        weight = lazy_tensor(shape, lambda: np.concatenate([w.numpy() for w in weights], axis=1))
        bias = np.concatenate([constant(p.bias) for p in parts])
        joined[key] = (
            add_initializer(graph, f"{name}.weight", weight),
            add_initializer(graph, f"{name}.bias", bias),
        )
    y = tape.op("MatMul", [parts[0].x, joined[key][0]], name=f"{name}.matmul")
    y = tape.op("Add", [y, joined[key][1]], name=f"{name}.add")
    graph.insert_before(_first(graph, parts).matmul, list(tape.nodes))
    return y


def _first(graph: ir.Graph, parts: list[Linear]) -> Linear:
    return min(parts, key=lambda p: graph.index(p.matmul))


def _operator(
    graph: ir.Graph,
    tape: ir.tape.Tape,
    node: ir.Node,
    packed: ir.Value | None,
    masks: dict[ir.Value, ir.Value],
) -> None:
    inputs = list(node.inputs)
    if packed is not None:
        attributes = {"axis": 2, "num_outputs": 3}
        inputs[:3] = tape.op_multi_out(
            "Split", [packed], attributes, num_outputs=3, name=f"{node.name}.split"
        )
    bias = bias_of(node)
    if bias is not None and packed is not None:
        inputs[3] = _expanded(graph, masks, bias)
    elif bias is not None:  # q may come from other tokens than k and v
        shape = _shape(graph, tape, present(node.inputs[0]), 1, node.name)
        inputs[3] = tape.op("Expand", [bias, shape], name=f"{node.name}.mask")
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    tape.op("Attention", inputs, attributes, name=node.name)


def _expanded(graph: ir.Graph, masks: dict[ir.Value, ir.Value], mask: ir.Value) -> ir.Value:
    """[B, 1, 1, S] -> [B, 1, S, S], once for all layers: onnxruntime wants a row a query."""
    if mask not in masks:
        tape = ir.tape.Tape()
        shape = _shape(graph, tape, mask, 3, "mask")
        masks[mask] = tape.op("Expand", [mask, shape], name="mask.expanded")
        producer = mask.producer()
        if producer is not None:
            graph.insert_after(producer, list(tape.nodes))
        else:
            graph.insert_before(graph[0], list(tape.nodes))
    return masks[mask]


def _shape(
    graph: ir.Graph, tape: ir.tape.Tape, value: ir.Value, axis: int, name: str | None
) -> ir.Value:
    """Return [1, 1, S, 1], S being an axis of a tensor."""
    one = add_int64(graph, 1)
    length = tape.op("Shape", [value], {"start": axis, "end": axis + 1}, name=f"{name}.length")
    return tape.op("Concat", [one, one, length, one], {"axis": 0}, name=f"{name}.shape")


def _heads(graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node, packed: ir.Value | None) -> None:
    name = str(node.name)
    q, k, v = _split_packed(graph, tape, node, packed) if packed else _split(graph, tape, node)
    attributes = {"transB": 1, "alpha": scale_of(node)}
    graph.opset_imports[MICROSOFT] = 1
    scores = tape.op("FusedMatMul", [q, k], attributes, domain=MICROSOFT, name=f"{name}.scores")
    if (bias := bias_of(node)) is not None:
        scores = tape.op("Add", [scores, bias], name=f"{name}.masked")
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    mixed = tape.op("MatMul", [p, v], name=f"{name}.mixed")
    join_heads(graph, tape, mixed, name)


def _split_packed(
    graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node, packed: ir.Value
) -> tuple[ir.Value, ...]:
    x = split_heads(graph, tape, packed, 3 * heads_of(node), str(node.name))
    attributes = {"axis": 1, "num_outputs": 3}
    split = f"{node.name}.split"
    return tuple(tape.op_multi_out("Split", [x], attributes, num_outputs=3, name=split))


def _split(graph: ir.Graph, tape: ir.tape.Tape, node: ir.Node) -> tuple[ir.Value, ...]:
    return tuple(
        split_heads(graph, tape, value, heads_of(node), f"{node.name}.{part}")
        for part, value in zip("qkv", node.inputs[:3], strict=True)
    )
