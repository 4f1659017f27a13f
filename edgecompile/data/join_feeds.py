"""Samples of equal shapes run together: fewer and larger products, and no padding."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.errors import DataError

if TYPE_CHECKING:
    import onnx_ir as ir

TOKENS = 2048
"""As many tokens, or as many samples where there are none, go together at most."""
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def join_feeds(lowered: "ir.Model", feeds: Sequence[Feed]) -> list[Feed]:
    """Return all samples, joined along axis 0 where the model answers each as it does alone.

    `lowered` is the model in a form that onnxruntime runs.
    """
    alike: dict[Shapes, list[Feed]] = {}
    for feed in feeds:
        alike.setdefault(_shapes(feed), []).append(feed)
    pair = max(alike.values(), key=len)[:2] if alike else []
    if len(pair) < 2 or not _takes_batches(lowered, pair):
        return list(feeds)
    joined = []
    for shapes, group in alike.items():
        size = max(1, TOKENS // max((s[1] for _, s in shapes if len(s) == 2), default=1))
        size = min(size, 64)
        joined += [_join(group[i : i + size]) for i in range(0, len(group), size)]
    return joined


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
