"""Run samples through the written-out float graph and keep the range of every tensor.

Padding is cut off before: what it holds says nothing.
"""

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed, valid_tokens
from edgecompile.errors import DataError
from edgecompile.session import run, session

Ranges = dict[str, tuple[float, float]]


def observe_written(model: ir.Model, feeds: Iterable[Feed]) -> Ranges:
    """Return the lowest and the highest number of each float tensor that a node makes."""
    names = [str(y.name) for node in model.graph for y in node.outputs if y.uses()]
    names += [str(y.name) for y in model.graph.outputs]
    names = list(dict.fromkeys(names))
    opened = session(model, outputs=names)
    found: Ranges = {}
    for number, feed in enumerate(feeds, 1):
        for name, array in zip(names, run(opened, names, _cut(feed), number), strict=True):
            if array.dtype != np.float32 or not array.size:
                continue
            low, high = float(array.min()), float(array.max())
            if not np.isfinite([low, high]).all():
                msg = f"tensor '{name}' became NaN or infinite in float: the model or data is bad"
                raise DataError(msg)
            before = found.get(name, (low, high))
            found[name] = (min(before[0], low), max(before[1], high))
    return found


def _cut(feed: Feed) -> Feed:
    """Return a sample without the padding behind its text."""
    valid = valid_tokens(feed)
    if valid is None or valid.all() or len(valid) != 1:
        return feed
    length = int(np.flatnonzero(valid[0])[-1]) + 1 if valid.any() else valid.shape[1]
    return {
        name: array[:, :length] if array.shape[:2] == valid.shape else array
        for name, array in feed.items()
    }
