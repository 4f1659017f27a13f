"""Write attention over heads of [H, S, D]: XNNPACK reshapes with one open size and multiplies 3-D.

    y = Attention(q, k, v, bias)   ->   q', v' = Transpose(Reshape(scale * q)), k' keys last
                                        p = Softmax(MatMul(q', k') + Squeeze(bias))   [H, S, S]
                                        y = Reshape(Transpose(MatMul(p, v')))         [1, S, E]

The bias is squeezed once for all layers.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.attention import bias_of, heads_of, scale_of
from edgecompile.errors import UnsupportedError
from edgecompile.facts import equalised, no_attention
from edgecompile.graph import (
    add_initializer,
    add_int64,
    dim,
    linears,
    name_outputs,
    present,
    substitute,
    sweep,
)
from edgecompile.passes import rewrite

ROWS_LAST, KEYS_LAST = [1, 0, 2], [1, 2, 0]
"""[S, H, D] -> [H, S, D], and back; -> [H, D, S]."""


@rewrite(needs=[equalised], gives=[no_attention])
def expand_attention(model: ir.Model) -> ir.Model:
    """Attention -> Mul, Reshape, Transpose, MatMul, Add, Softmax; batch 1."""
    model = model.clone()
    widths = {linear.y: dim(linear.weight, 1) for linear in linears(model.graph)}
    flat: dict[ir.Value, ir.Value] = {}
    for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
        _expand(model.graph, node, widths, flat)
    return sweep(model)


def _expand(
    graph: ir.Graph, node: ir.Node, widths: dict[ir.Value, int], flat: dict[ir.Value, ir.Value]
) -> None:
    name, tape, heads = str(node.name), ir.tape.Tape(), heads_of(node)
    factor = add_initializer(graph, f"{name}.scale", np.array(scale_of(node), np.float32))
    parts = []
    for part, value, perm in zip("qkv", node.inputs[:3], (ROWS_LAST, KEYS_LAST, ROWS_LAST),
                                 strict=True):  # fmt: skip
        width = _width(present(value), widths, name) // heads
        x = present(value)
        x = tape.op("Mul", [x, factor], name=f"{name}.q.scaled") if part == "q" else x
        shape = add_int64(graph, -1, heads, width)
        x = tape.op("Reshape", [x, shape], name=f"{name}.{part}.heads")
        parts.append(tape.op("Transpose", [x], {"perm": perm}, name=f"{name}.{part}.transposed"))
    scores = tape.op("MatMul", parts[:2], name=f"{name}.scores")
    if (bias := bias_of(node)) is not None:
        if bias not in flat:
            flat[bias] = tape.op("Squeeze", [bias, add_int64(graph, 0)], name=f"{name}.bias")
        scores = tape.op("Add", [scores, flat[bias]], name=f"{name}.masked")
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    mixed = tape.op("MatMul", [p, parts[2]], name=f"{name}.mixed")
    back = tape.op("Transpose", [mixed], {"perm": ROWS_LAST}, name=f"{name}.back")
    tape.op("Reshape", [back, add_int64(graph, 1, -1, heads * width)], name=name)
    substitute(graph, [node], name_outputs(tape.nodes))


def _width(value: ir.Value, widths: dict[ir.Value, int], name: str) -> int:
    """Return how wide q, k or v is: as its Linear, or as its shape says."""
    if value in widths:
        return widths[value]
    if value.shape is not None and isinstance(value.shape[-1], int):
        return dim(value, -1)
    msg = f"executorch: node '{name}' (Attention) reads '{value.name}', whose width is not known"
    raise UnsupportedError(msg)
