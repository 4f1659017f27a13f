"""Write attention as the target's OpenVINO runs it fastest.

    y = Attention(q, k, v, bias)   ->   operator: as it is
                                   ->   channels-first, with x' = Transpose(x), [B, E, S]:
                                        q, k, v = Reshape(q'), Reshape(k'), Reshape(v')
                                        p = Softmax(MatMul(Transpose(q), k) + bias)
                                        y' = Reshape(MatMul(v, Transpose(p)))

Channels-first fits between convolutions: the Transposes of q, k, v and y meet theirs and vanish,
those inside become flags of OpenVINO's MatMul.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.attention import bias_of, heads_of, scale_of
from edgecompile.facts import (
    ATTENTION_LOWERED,
    SWAP,
    attention_is_lowered,
    equalised,
    shapes_inferred,
)
from edgecompile.graph import add_initializer, add_int64, present, substitute, sweep
from edgecompile.passes import rewrite
from edgecompile.target import Target

LAST_TWO = [0, 1, 3, 2]


@rewrite(needs=[equalised, shapes_inferred], gives=[attention_is_lowered])
def expand_attention(model: ir.Model, target: Target) -> ir.Model:
    """Attention -> the form that the target's file names; of unknown width, it stays."""
    model = model.clone()
    if target.forms.attention == "channels-first":
        for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
            widths = [_width(present(value)) for value in node.inputs[:3]]
            if all(width is not None for width in widths):
                _expand(model.graph, node, [width // heads_of(node) for width in widths if width])
    model.metadata_props[ATTENTION_LOWERED] = "yes"
    return sweep(model)


def _width(value: ir.Value) -> int | None:
    last = value.shape[-1] if value.shape is not None and len(value.shape) == 3 else None
    return last if isinstance(last, int) else None


def _expand(graph: ir.Graph, node: ir.Node, depths: list[int]) -> None:
    name, heads, tape = str(node.name), heads_of(node), ir.tape.Tape()
    factor = add_initializer(graph, f"{name}.scale", np.array(scale_of(node), np.float32))
    scaled = tape.op("Mul", [present(node.inputs[0]), factor], name=f"{name}.scaled")
    parts = []
    for part, value, depth in zip("qkv", [scaled, *node.inputs[1:3]], depths, strict=True):
        swapped = tape.op("Transpose", [present(value)], {"perm": SWAP}, name=f"{name}.{part}.swap")
        shape = add_int64(graph, 0, heads, depth, -1)
        parts.append(tape.op("Reshape", [swapped, shape], name=f"{name}.{part}.heads"))
    q = tape.op("Transpose", [parts[0]], {"perm": LAST_TWO}, name=f"{name}.q.rows")
    scores = tape.op("MatMul", [q, parts[1]], name=f"{name}.scores")
    if (bias := bias_of(node)) is not None:
        scores = tape.op("Add", [scores, bias], name=f"{name}.masked")
    p = tape.op("Softmax", [scores], {"axis": -1}, name=f"{name}.softmax")
    p = tape.op("Transpose", [p], {"perm": LAST_TWO}, name=f"{name}.softmax.columns")
    mixed = tape.op("MatMul", [parts[2], p], name=f"{name}.mixed")
    joined = add_int64(graph, 0, heads * depths[2], -1)
    y = tape.op("Reshape", [mixed, joined], name=f"{name}.joined")
    tape.op("Transpose", [y], {"perm": SWAP}, name=name)
    substitute(graph, [node], tape.nodes)
