"""Write attention over heads of [H, S, D], as the HTP's batched products take it.

    y = Attention(q, k, v, bias)   ->   q', v' = Transpose(Reshape(q)), k' likewise, transposed
                                        p = Softmax(MatMul(q', k') + bias)
                                        y = Reshape(Transpose(MatMul(p, v')))        [1, S, E]

The factor of the scores goes into q's Linear, and so does what gives q and k one range: column j
of q is divided by e_j, of k multiplied by it.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.attention import bias_of, heads_of, scale_of
from edgecompile.facts import ROLE, equalised, no_attention
from edgecompile.graph import (
    FloatArray,
    Linear,
    add_initializer,
    add_int64,
    dim,
    linears,
    present,
    substitute,
    sweep,
)
from edgecompile.lower.onnxruntime.apply_equalisation import rescale
from edgecompile.passes import rewrite
from edgecompile.plan import Plan

LARGEST_RATIO = 20.0
"""How far q's and k's ranges are moved at most."""


@rewrite(needs=[equalised], gives=[no_attention])
def expand_attention(model: ir.Model, plan: Plan) -> ir.Model:
    """Attention -> Reshape, Transpose, MatMul, Add, Softmax; batch 1."""
    model = model.clone()
    by_output = {linear.y: linear for linear in linears(model.graph)}
    for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
        _expand(model.graph, node, by_output, plan)
    return sweep(model)


def _expand(graph: ir.Graph, node: ir.Node, by_output: dict[ir.Value, Linear], plan: Plan) -> None:
    name, tape = str(node.name), ir.tape.Tape()
    q, k, v = (present(value) for value in node.inputs[:3])
    e = _balance(plan, q, k)
    q = _scaled(graph, tape, by_output.get(q), q, scale_of(node) / e)
    k = _scaled(graph, tape, by_output.get(k), k, e)
    heads = heads_of(node)
    parts = []
    for part, value, perm in (("q", q, [1, 0, 2]), ("k", k, [1, 2, 0]), ("v", v, [1, 0, 2])):
        shape = add_int64(graph, -1, heads, _width(value, heads))
        x = tape.op("Reshape", [value, shape], name=f"{name}.{part}.heads")
        parts.append(tape.op("Transpose", [x], {"perm": perm}, name=f"{name}.{part}.transposed"))
    scores = tape.op("MatMul", parts[:2], name=f"{name}.scores")
    if (bias := bias_of(node)) is not None:
        flat = tape.op("Squeeze", [bias, add_int64(graph, 0)], name=f"{name}.bias")
        scores = tape.op("Add", [scores, flat], name=f"{name}.masked")
        tape.nodes[-1].metadata_props[ROLE] = "masked"
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    mixed = tape.op("MatMul", [p, parts[2]], name=f"{name}.mixed")
    back = tape.op("Transpose", [mixed], {"perm": [1, 0, 2]}, name=f"{name}.back")
    width = heads * _width(v, heads)
    tape.op("Reshape", [back, add_int64(graph, 1, -1, width)], name=name)
    substitute(graph, [node], tape.nodes)


def _balance(plan: Plan, q: ir.Value, k: ir.Value) -> FloatArray:
    """Return e [E]: q / e and k e have the same range by channel, as far as the plan saw both."""
    seen = plan.outputs.get(str(q.name)), plan.outputs.get(str(k.name))
    if seen[0] is None or seen[1] is None:
        return np.ones(1, np.float32)
    e = np.sqrt(seen[0].smoothing / seen[1].smoothing)
    return np.clip(e, 1 / LARGEST_RATIO, LARGEST_RATIO).astype(np.float32)


def _scaled(
    graph: ir.Graph, tape: ir.tape.Tape, linear: Linear | None, value: ir.Value, f: FloatArray
) -> ir.Value:
    """Multiply a tensor by f [E] or [1]: in the Linear that makes it, if nothing else reads it."""
    own = linear is not None and len(value.uses()) == 1 and not value.is_graph_output()
    if linear is None or not own or len(linear.weight.uses()) != 1:
        factor = add_initializer(graph, f"{value.name}.factor", np.asarray(f, np.float32))
        return tape.op("Mul", [value, factor], name=f"{value.name}.scaled")
    if linear.bias is not None:
        if len(linear.bias.uses()) != 1:
            factor = add_initializer(graph, f"{value.name}.factor", np.asarray(f, np.float32))
            return tape.op("Mul", [value, factor], name=f"{value.name}.scaled")
        rescale(graph, linear.bias, f)
    rescale(graph, linear.weight, f)
    return value


def _width(value: ir.Value, heads: int) -> int:
    producer = value.producer()
    if value.shape is not None and isinstance(value.shape[-1], int):
        return dim(value, -1) // heads
    for source in producer.inputs if producer is not None else ():
        if source is not None and source.is_initializer() and source.shape:
            return dim(source, -1) // heads
    msg = f"the width of '{value.name}' is not known"
    raise ValueError(msg)
