"""Samples of equal shapes run together: fewer and larger products, and no padding."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.errors import DataError

if TYPE_CHECKING:
    import onnx_ir as ir

TOGETHER = 2048
"""So many numbers of an input go together at most: tokens, where those are the inputs."""
SAMPLES = 64
WINDOW, WINDOW_BYTES = 1024, 1 << 26
"""So many samples, or bytes, are looked over for equal shapes: no more is held in memory."""
PROBED = 64
"""Samples among which two of one shape are looked for, to try them."""
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def join_feeds(lowered: "ir.Model", feeds: Iterable[Feed]) -> Iterable[Feed]:
    """Return all samples, joined along axis 0 where the model answers each as it does alone.

    `lowered` is the model in a form that onnxruntime runs. Each iteration gives the same order.
    """
    first: dict[Shapes, Feed] = {}
    for feed in islice(feeds, PROBED):
        other = first.setdefault(_shapes(feed), feed)
        if other is not feed:
            return Joined(feeds) if _takes_batches(lowered, (other, feed)) else feeds
    return feeds


@dataclass(frozen=True, slots=True)
class Joined:
    """Samples of one shape as one sample, read anew in each iteration."""

    feeds: Iterable[Feed]

    def __iter__(self) -> Iterator[Feed]:
        """Read a window, join what is alike, read the next."""
        window: list[Feed] = []
        size = 0
        for feed in self.feeds:
            window.append(feed)
            size += sum(array.nbytes for array in feed.values())
            if len(window) == WINDOW or size >= WINDOW_BYTES:
                yield from _joined(window)
                window, size = [], 0
        yield from _joined(window)


def _joined(feeds: Iterable[Feed]) -> Iterator[Feed]:
    alike: dict[Shapes, list[Feed]] = {}
    for feed in feeds:
        alike.setdefault(_shapes(feed), []).append(feed)
    for group in alike.values():
        largest = max(array.size for array in group[0].values())
        size = min(max(1, TOGETHER // max(largest, 1)), SAMPLES)
        for start in range(0, len(group), size):
            yield _join(group[start : start + size])


def _shapes(feed: Feed) -> Shapes:
    return tuple((name, array.shape) for name, array in sorted(feed.items()))


def _join(feeds: Sequence[Feed]) -> Feed:
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def _takes_batches(lowered: "ir.Model", pair: Sequence[Feed]) -> bool:
    """Try it on two samples: a graph may hold a batch of 1 that its inputs do not show."""
    from edgecompile.probe import close
    from edgecompile.session import answer, session

    if any(array.ndim == 0 or len(array) != 1 for array in pair[0].values()):
        return False
    opened = session(lowered)
    alone = answer(opened, pair)
    try:
        (both,) = answer(opened, [_join(pair)])
    except DataError:
        return False
    return all(
        len(ours) == 2 and all(close(ours[i : i + 1], a[number]) for i, a in enumerate(alone))
        for number, ours in enumerate(both)
    )
