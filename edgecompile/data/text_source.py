"""Texts of any file -> a source of feeds."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from edgecompile.data.encoder import TOKENIZER
from edgecompile.data.feed import Feed
from edgecompile.data.source import Request, Source


def text_source(
    path: Path, files: Sequence[Path], request: Request, read: Callable[[], Iterator[str]]
) -> Source:
    """Return a source whose texts `read()` yields anew in each pass."""
    encoder = request.encoder()

    def count(limit: int) -> int:
        return sum(1 for _ in islice(read(), limit))

    def feeds(start: int, stop: int) -> Iterator[Feed]:
        for number, feed in enumerate(encoder(islice(read(), start, stop)), start + 1):
            yield request.signature.check(f"{path}, text {number}", feed)

    return Source("text", path, count, feeds, files, request.folder / TOKENIZER, read)
