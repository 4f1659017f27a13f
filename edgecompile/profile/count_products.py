"""Count a graph's multiply-accumulates: what stands for time where nothing can be timed.

Widths are counted in blocks of 16: a kernel works in blocks, and half of one takes as long.
"""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.graph import present
from edgecompile.session import run, session

BLOCK = 16
COUNTED = ("MatMul", "Attention", "Conv")
HOW = "multiply-accumulates of MatMul, Attention and Conv, counted with widths in blocks of 16"


def count_products(lowered: ir.Model, feed: Feed) -> float:
    """Return the multiply-accumulates of one inference of a float graph that onnxruntime runs."""
    nodes = [n for n in lowered.graph if n.op_type in COUNTED and not n.domain]
    names = list(dict.fromkeys(name for node in nodes for name in _tensors(node)))
    fixed = {str(v.name): v.shape.numpy() for v in lowered.graph.initializers.values() if v.shape}
    asked = [name for name in names if name not in fixed and name not in feed]
    opened = session(lowered, outputs=asked)
    shapes = {name: array.shape for name, array in feed.items()} | fixed
    answers = run(opened, asked, feed, 1) if asked else []
    shapes |= {name: array.shape for name, array in zip(asked, answers, strict=True)}
    return float(sum(_products(node, [shapes[name] for name in _tensors(node)]) for node in nodes))


def _tensors(node: ir.Node) -> Iterator[str]:
    count = 3 if node.op_type == "Attention" else 2
    yield from (str(present(value).name) for value in node.inputs[:count])
    yield str(node.outputs[0].name)


def _products(node: ir.Node, shapes: list[tuple[int, ...]]) -> int:
    *given, y = shapes
    if node.op_type == "Conv":
        return int(np.prod(y)) * int(np.prod(given[1][1:]))
    if node.op_type == "Attention":  # q [B, S, E], k [B, T, E], v [B, T, E]
        q, k, v = given
        return int(np.prod(q[:-1])) * int(np.prod(k[1:-1])) * (_blocks(q[-1]) + _blocks(v[-1]))
    return int(np.prod(y[:-1])) * _blocks(given[0][-1]) * _blocks(y[-1])


def _blocks(width: int) -> int:
    return -(-width // BLOCK) * BLOCK
