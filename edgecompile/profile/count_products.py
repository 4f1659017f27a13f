"""Count a graph's multiply-accumulates: what stands for time where nothing can be timed.

For that, widths are counted in blocks of 16: a kernel works in blocks, and half of one takes as
long.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.graph import present
from edgecompile.session import run, session

BLOCK = 16
COUNTED = ("MatMul", "Attention", "Conv")
EXACT = 1
HOW = "multiply-accumulates of MatMul, Attention and Conv, counted with widths in blocks of 16"


def count_products(lowered: ir.Model, feed: Feed) -> float:
    """Return the multiply-accumulates of one inference of a float graph that onnxruntime runs."""
    return count_each(lowered, [feed])[0]


def count_each(lowered: ir.Model, feeds: Sequence[Feed], block: int = BLOCK) -> list[float]:
    """Return those of an inference of each feed, with widths in blocks of `block`."""
    nodes = [n for n in lowered.graph if n.op_type in COUNTED and not n.domain]
    names = list(dict.fromkeys(name for node in nodes for name in _tensors(node)))
    fixed = {str(v.name): v.shape.numpy() for v in lowered.graph.initializers.values() if v.shape}
    asked = [name for name in names if name not in fixed and name not in feeds[0]]
    opened = session(lowered, outputs=asked)
    counts = []
    for feed in feeds:
        shapes = {name: array.shape for name, array in feed.items()} | fixed
        answers = run(opened, asked, feed, 1) if asked else []
        shapes |= {name: array.shape for name, array in zip(asked, answers, strict=True)}
        products = (_products(n, [shapes[name] for name in _tensors(n)], block) for n in nodes)
        counts.append(float(sum(products)))
    return counts


def _tensors(node: ir.Node) -> Iterator[str]:
    count = 3 if node.op_type == "Attention" else 2
    yield from (str(present(value).name) for value in node.inputs[:count])
    yield str(node.outputs[0].name)


def _products(node: ir.Node, shapes: list[tuple[int, ...]], block: int) -> int:
    *given, y = shapes
    if node.op_type == "Conv":
        return int(np.prod(y)) * int(np.prod(given[1][1:]))
    if node.op_type == "Attention":  # q [B, S, E], k [B, T, E], v [B, T, E]
        q, k, v = given
        widths = _blocks(q[-1], block) + _blocks(v[-1], block)
        return int(np.prod(q[:-1])) * int(np.prod(k[1:-1])) * widths
    return int(np.prod(y[:-1])) * _blocks(given[0][-1], block) * _blocks(y[-1], block)


def _blocks(width: int, block: int) -> int:
    return -(-width // block) * block
