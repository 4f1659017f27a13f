"""Sizes as people write them."""

import pytest

from edgecompile.byte_size import byte_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("12 MB", 12_000_000), ("1.5MB", 1_500_000), ("800 kB", 800_000), ("2 MiB", 2 << 20),
     ("7 B", 7), ("", None), ("12", None), ("MB", None), ("-1 MB", None), ("0 MB", None),
     ("1 TB", None), ("1e3 B", None), ("12 mb", None)],
)  # fmt: skip
def test_units_are_told_apart(text: str, size: int | None) -> None:
    """What is no size, or none of anything, is None."""
    assert byte_size(text) == size
