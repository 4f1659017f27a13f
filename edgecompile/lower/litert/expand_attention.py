"""Write attention as float matrix products, LiteRT's BATCH_MATMUL and SOFTMAX.

    y = Attention(q, k, v, bias)   ->   q', k', v' = Transpose(Reshape(scale * q)), ...
                                        p = Softmax(FusedMatMul(q', k', transB) + bias)
                                        y = Reshape(Transpose(FusedMatMul(p, v')))       [B, S, E]

In int8 the products take 3 times as long (ai-edge-litert 2.3). The factor goes on q before its
heads are split, where it joins the one that a Linear's output has.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.attention import bias_of, heads_of, join_heads, scale_of, split_heads
from edgecompile.facts import equalised, no_attention
from edgecompile.graph import (
    MICROSOFT,
    add_initializer,
    name_outputs,
    present,
    substitute,
    sweep,
)
from edgecompile.passes import rewrite


@rewrite(needs=[equalised], gives=[no_attention])
def expand_attention(model: ir.Model) -> ir.Model:
    """Attention -> Mul, Reshape, Transpose, FusedMatMul, Add, Softmax."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
        expand(model.graph, node)
        model.graph.opset_imports[MICROSOFT] = 1
    return sweep(model)


def expand(graph: ir.Graph, node: ir.Node) -> None:
    """Write one Attention out."""
    name, tape = str(node.name), ir.tape.Tape()
    factor = add_initializer(graph, f"{name}.scale", np.array(scale_of(node), np.float32))
    scaled = tape.op("Mul", [present(node.inputs[0]), factor], name=f"{name}.q.scaled")
    q, k, v = (
        split_heads(graph, tape, value, heads_of(node), f"{name}.{part}")
        for part, value in zip("qkv", [scaled, *node.inputs[1:3]], strict=True)
    )
    scores = _product(tape, q, k, f"{name}.scores", transposed=True)
    if (bias := bias_of(node)) is not None:
        scores = tape.op("Add", [scores, bias], name=f"{name}.masked")
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    mixed = _product(tape, p, v, f"{name}.mixed", transposed=False)
    join_heads(graph, tape, mixed, name)
    substitute(graph, [node], name_outputs(tape.nodes))


def _product(
    tape: ir.tape.Tape, a: ir.Value, b: ir.Value, name: str, *, transposed: bool
) -> ir.Value:
    attributes = {"transB": int(transposed)}
    product: ir.Value = tape.op("FusedMatMul", [a, b], attributes, domain=MICROSOFT, name=name)
    return product
