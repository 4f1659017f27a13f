"""The canonical attention: one standard Attention over [B, S, E] tensors and a padding bias.

It has as many key heads as query heads, states its `scale`, and adds its bias [B, 1, 1, S] (or any
that broadcasts to [B, heads, S, S]) to the scores.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecompile.graph import FloatArray, add_initializer, add_int64, present

MASKED = -10_000.0
"""What a padded token's score is given: softmax makes it 0, and it is finite on purpose."""
HEADS_FIRST, KEYS_LAST = (0, 2, 1, 3), (0, 2, 3, 1)
"""[B, S, heads, E] -> [B, heads, S, E], and back; -> [B, heads, E, S]."""


def heads_of(attention: ir.Node) -> int:
    """Return the number of heads."""
    return attention.attributes["q_num_heads"].as_int()


def scale_of(attention: ir.Node) -> float:
    """Return the factor of the scores."""
    return attention.attributes["scale"].as_float()


def bias_of(attention: ir.Node) -> ir.Value | None:
    """Return what is added to the scores."""
    return attention.inputs[3] if len(attention.inputs) > 3 else None


def padding_bias(graph: ir.Graph, mask: ir.Value) -> list[ir.Node]:
    """attention_mask [B, S] of 0 and 1 -> the nodes that make [B, 1, 1, S] of MASKED and 0."""
    tape = ir.tape.Tape()
    one = add_initializer(graph, "mask.one", np.array(1.0, np.float32))
    masked = add_initializer(graph, "mask.value", np.array(MASKED, np.float32))
    valid = tape.op("Cast", [mask], {"to": ir.DataType.FLOAT}, name="mask.float")
    padded = tape.op("Sub", [one, valid], name="mask.padded")
    bias = tape.op("Mul", [padded, masked], name="mask.bias_2d")
    tape.op("Unsqueeze", [bias, add_int64(graph, 1, 2)], name="mask.bias")
    for node in tape.nodes:
        node.outputs[0].name = node.name
    return list(tape.nodes)


def split_heads(
    graph: ir.Graph,
    tape: ir.tape.Tape,
    x: ir.Value | None,
    heads: int,
    name: str,
    *,
    perm: Sequence[int] = HEADS_FIRST,
) -> ir.Value:
    """[B, S, heads * E] -> [B, heads, S, E], or in another order of axes."""
    shape = add_int64(graph, 0, 0, heads, -1)
    parted = tape.op("Reshape", [present(x), shape], name=f"{name}.heads")
    moved: ir.Value = tape.op(
        "Transpose", [parted], {"perm": list(perm)}, name=f"{name}.transposed"
    )
    return moved


def join_heads(graph: ir.Graph, tape: ir.tape.Tape, x: ir.Value, name: str) -> None:
    """[B, heads, S, E] -> [B, S, heads * E], as a node of that name."""
    back = tape.op("Transpose", [x], {"perm": list(HEADS_FIRST)}, name=f"{name}.back")
    tape.op("Reshape", [back, add_int64(graph, 0, 0, -1)], name=name)


def attend(qkv: Sequence[FloatArray], bias: FloatArray, heads: int, scale: float) -> FloatArray:
    """Compute softmax(scale q k^T + bias) v with numpy: [B, S, E] x 3 -> [B, S, E]."""
    q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(HEADS_FIRST) for x in qkv)
    scores = scale * (q @ k.swapaxes(2, 3)) + bias
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed: FloatArray = (weights / weights.sum(axis=-1, keepdims=True)) @ v
    mixed = mixed.transpose(HEADS_FIRST)
    return mixed.reshape(*mixed.shape[:2], -1)
