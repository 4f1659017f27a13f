"""Which axes of a tensor a Reshape makes of which.

[B, S, 384] -> [0, 0, 12, 32]     B - B, S - S, 384 - (12, 32)
"""

from collections.abc import Sequence

from edgecompile.prune.measure_shapes import Size

Block = tuple[range, range]
"""Neighbouring axes before, and what they become."""


def blocks(before: Sequence[Size], after: Sequence[Size]) -> list[Block]:
    """Return the blocks of axes that hold the same elements, each as small as it can be.

    Sizes are equal where they are so in every run. Axes of size 1 are in the block before them.
    """
    found: list[Block] = []
    i = j = 0
    while i < len(before) or j < len(after):
        a, b = _match(before[i:], after[j:])
        found.append((range(i, i + a), range(j, j + b)))
        i, j = i + a, j + b
    return found


def _match(before: Sequence[Size], after: Sequence[Size]) -> tuple[int, int]:
    """Return how many axes on each side make up the first block."""
    if before and after and before[0] == after[0]:
        return 1, 1
    ways = ((a, b) for a in range(len(before) + 1) for b in range(len(after) + 1) if a + b)
    for a, b in sorted(ways, key=sum):
        if _product(before[:a]) == _product(after[:b]):
            return a, b
    return len(before), len(after)


def _product(sizes: Sequence[Size]) -> tuple[int, ...]:
    """Return the elements in each run; () and (1, 1, 1) are the same."""
    total: list[int] = []
    for size in sizes:
        total = [a * b for a, b in zip(total, size, strict=True)] if total else list(size)
    return () if all(number == 1 for number in total) else tuple(total)
