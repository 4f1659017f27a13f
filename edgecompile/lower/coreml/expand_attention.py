"""Write attention as matrix products over heads, [B, H, S, D], in standard operators.

    y = Attention(q, k, v, bias)   ->   q' = Transpose(Reshape(scale * q)), k' keys last, v'
                                        p = Softmax(MatMul(q', k') + bias)
                                        y = Reshape(Transpose(MatMul(p, v')))        [B, S, E]

The factor goes on q: scores of 16 bits then do not overflow.
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
from edgecompile.facts import linears_are_matmuls, no_attention
from edgecompile.graph import add_initializer, name_outputs, present, substitute, sweep
from edgecompile.passes import rewrite


@rewrite(needs=[linears_are_matmuls], gives=[no_attention])
def expand_attention(model: ir.Model) -> ir.Model:
    """Attention -> Mul, Reshape, Transpose, MatMul, Add, Softmax."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
        _expand(model.graph, node)
    return sweep(model)


def _expand(graph: ir.Graph, node: ir.Node) -> None:
    name, tape, heads = str(node.name), ir.tape.Tape(), heads_of(node)
    factor = add_initializer(graph, f"{name}.scale", np.array(scale_of(node), np.float32))
    scaled = tape.op("Mul", [present(node.inputs[0]), factor], name=f"{name}.q.scaled")
    parts = zip("qkv", [scaled, *node.inputs[1:3]], (HEADS_FIRST, KEYS_LAST, HEADS_FIRST),
                strict=True)  # fmt: skip
    q, k, v = (
        split_heads(graph, tape, value, heads, f"{name}.{part}", perm=perm)
        for part, value, perm in parts
    )
    scores = tape.op("MatMul", [q, k], name=f"{name}.scores")
    if (bias := bias_of(node)) is not None:
        scores = tape.op("Add", [scores, bias], name=f"{name}.masked")
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    mixed = tape.op("MatMul", [p, v], name=f"{name}.mixed")
    join_heads(graph, tape, mixed, name)
    substitute(graph, [node], name_outputs(tape.nodes))
