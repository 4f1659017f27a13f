"""Which axes a Reshape makes of which."""

import pytest

from edgecompile.prune.reshaping import blocks

B, S, BH = (2, 1), (7, 5), (8, 4)


def fixed(*sizes: int) -> list[tuple[int, int]]:
    """Return axes that have one size in both runs."""
    return [(size, size) for size in sizes]


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ([B, S, *fixed(384)], [B, S, *fixed(12, 32)], [(1, 1), (1, 1), (1, 2)]),
        ([B, S, *fixed(12, 32)], [B, S, *fixed(384)], [(1, 1), (1, 1), (2, 1)]),
        ([B, *fixed(4), S], [BH, S], [(2, 1), (1, 1)]),
        ([BH, S], [B, *fixed(4), S], [(1, 2), (1, 1)]),
        ([B, *fixed(6, 4)], [B, *fixed(4, 6)], [(1, 1), (2, 2)]),
        ([B, *fixed(1), S], [B, S], [(1, 1), (1, 0), (1, 1)]),
        ([B, S], [B, S, *fixed(1)], [(1, 1), (1, 1), (0, 1)]),
        ([B, *fixed(8, 8), S], [B, *fixed(2, 4, 2, 4), S], [(1, 1), (1, 2), (1, 2), (1, 1)]),
    ],
)
def test_blocks_are_as_small_as_can_be(
    before: list[tuple[int, int]], after: list[tuple[int, int]], wanted: list[tuple[int, int]]
) -> None:
    """Each has as many elements before as after, in every run."""
    found = blocks(before, after)
    assert [(len(x), len(y)) for x, y in found] == wanted
    assert [axis for x, _ in found for axis in x] == list(range(len(before)))
    assert [axis for _, y in found for axis in y] == list(range(len(after)))
