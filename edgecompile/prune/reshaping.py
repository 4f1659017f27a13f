"""Which axes of a tensor a Reshape makes of which.

[B, S, 384] -> [0, 0, 12, 32]     B - B, S - S, 384 - (12, 32)
"""

from collections.abc import Sequence
from math import prod

import onnx_ir as ir

from edgecompile.graph import constant

Token = int | str
"""A size, or the name of one that is not known; the same name is the same size."""
Block = tuple[range, range]
"""Neighbouring axes before, and what they become."""


def blocks(before: Sequence[Token], after: Sequence[Token]) -> list[Block]:
    """Return the blocks of axes that hold the same elements, as small as can be told."""
    front = _front(before, after)
    i, j = (front[-1][0].stop, front[-1][1].stop) if front else (0, 0)
    turned = _front(before[i:][::-1], after[j:][::-1])
    n, m = len(before), len(after)
    back = [
        (range(n - a.stop, n - a.start), range(m - b.stop, m - b.start)) for a, b in turned[::-1]
    ]
    k, m = (back[0][0].start, back[0][1].start) if back else (n, m)
    middle = [(range(i, k), range(j, m))] if i < k or j < m else []
    return [*front, *middle, *back]


def _front(before: Sequence[Token], after: Sequence[Token]) -> list[Block]:
    found: list[Block] = []
    i = j = 0
    while i < len(before) and j < len(after):
        end = _match(before[i:], after[j:])
        if end is None:
            break
        found.append((range(i, i + end[0]), range(j, j + end[1])))
        i, j = i + end[0], j + end[1]
    return found


def _match(before: Sequence[Token], after: Sequence[Token]) -> tuple[int, int] | None:
    """Return how many axes make up the first block, None where that cannot be told."""
    if before[0] == after[0]:
        return 1, 1
    a = b = 1
    while a <= len(before) and b <= len(after):
        x, y = before[:a], after[:b]
        if any(isinstance(size, str) for size in (*x, *y)):
            return None
        left, right = prod(map(int, x)), prod(map(int, y))
        if left == right:
            return a, b
        a, b = (a + 1, b) if left < right else (a, b + 1)
    return None


def sizes(node: ir.Node) -> tuple[list[Token], list[Token]] | None:
    """Return the sizes before and after a Reshape; None where a rank is not known."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.shape is None or y.shape is None:
        return None
    before = [_token(size, f"before {axis}") for axis, size in enumerate(x.shape)]
    after = [_token(size, f"after {axis}") for axis, size in enumerate(y.shape)]
    target = constant(node.inputs[1])
    if target is not None and len(target) == len(after):
        for axis, size in enumerate(target.tolist()):
            if size == 0:
                after[axis] = before[axis]
    return before, after


def _token(size: int | ir.SymbolicDim | None, unknown: str) -> Token:
    if isinstance(size, int):
        return size
    name = None if size is None else size.value
    return unknown if name is None else str(name)
