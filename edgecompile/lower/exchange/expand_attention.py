"""Write attention in standard operators, as torch's exporter does.

y = Attention(q, k, v, bias)   ->   p = Softmax(scale * MatMul(q, k) + bias)
                                    y = Reshape(Transpose(MatMul(p, v)))
"""

import numpy as np
import onnx_ir as ir

from edgecompile.attention import bias_of, heads_of, scale_of
from edgecompile.facts import no_attention
from edgecompile.graph import add_initializer, add_int64, present, substitute, sweep
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
    shape = add_int64(graph, 0, 0, heads_of(node), -1)
    perms = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    parts = []
    for part, value, perm in zip("qkv", node.inputs[:3], perms, strict=True):
        x = tape.op("Reshape", [present(value), shape], name=f"{name}.{part}.heads")
        parts.append(tape.op("Transpose", [x], {"perm": perm}, name=f"{name}.{part}.transposed"))
    factor = add_initializer(graph, f"{name}.scale", np.array(scale_of(node), np.float32))
    scores = tape.op("MatMul", parts[:2], name=f"{name}.scores")
    scores = tape.op("Mul", [scores, factor], name=f"{name}.scaled")
    if (bias := bias_of(node)) is not None:
        scores = tape.op("Add", [scores, bias], name=f"{name}.masked")
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    mixed = tape.op("MatMul", [p, parts[2]], name=f"{name}.mixed")
    back = tape.op("Transpose", [mixed], {"perm": [0, 2, 1, 3]}, name=f"{name}.back")
    tape.op("Reshape", [back, add_int64(graph, 0, 0, -1)], name=name)
    substitute(graph, [node], tape.nodes)
