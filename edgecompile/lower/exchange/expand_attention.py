"""Write attention in standard operators, as torch's exporter does.

y = Attention(q, k, v, bias)   ->   p = Softmax(scale * MatMul(q, k) + bias)
                                    y = Reshape(Transpose(MatMul(p, v)))
"""

import numpy as np
import onnx_ir as ir

from edgecompile.attention import (
    HEADS_FIRST,
    KEYS_LAST,
    bias_of,
    heads_of,
    join_heads,
    scale_of,
    split_heads,
)
from edgecompile.facts import no_attention
from edgecompile.graph import add_initializer, substitute, sweep
from edgecompile.passes import rewrite


@rewrite(gives=[no_attention])
def expand_attention(model: ir.Model) -> ir.Model:
    """Attention -> Reshape, Transpose, MatMul, Mul, Add, Softmax."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
        _expand(model.graph, node)
    return sweep(model)


def _expand(graph: ir.Graph, node: ir.Node) -> None:
    name, tape = str(node.name), ir.tape.Tape()
    perms = (HEADS_FIRST, KEYS_LAST, HEADS_FIRST)
    parts = [
        split_heads(graph, tape, value, heads_of(node), f"{name}.{part}", perm=perm)
        for part, value, perm in zip("qkv", node.inputs[:3], perms, strict=True)
    ]
    factor = add_initializer(graph, f"{name}.scale", np.array(scale_of(node), np.float32))
    scores = tape.op("MatMul", parts[:2], name=f"{name}.scores")
    scores = tape.op("Mul", [scores, factor], name=f"{name}.scaled")
    if (bias := bias_of(node)) is not None:
        scores = tape.op("Add", [scores, bias], name=f"{name}.masked")
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    mixed = tape.op("MatMul", [p, parts[2]], name=f"{name}.mixed")
    join_heads(graph, tape, mixed, name)
    substitute(graph, [node], tape.nodes)
