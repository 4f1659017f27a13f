"""A sample in the fixed shapes of an engine's graph, for what observes it there."""

from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.graph import sizes

if TYPE_CHECKING:
    import onnx_ir as ir

MASK = "attention_mask"


def fit_feed(feed: Feed, model: "ir.Model", length: int) -> Feed:
    """Return a feed in the artifact's shapes and types; what pads is a copy of what is there.

    The mask says 0 there. So tensors hold what real tokens give, and nothing has to be left out.
    """
    fitted: dict[str, Any] = {}
    for value in model.graph.inputs:
        array = feed[str(value.name)]
        wanted = tuple(sizes(value))
        given = array.shape[1] if array.ndim > 1 else 0
        if array.shape != wanted and wanted[1] == length:
            if value.name == MASK:
                array = np.pad(array, [(0, 0), (0, length - given)])
            else:
                array = np.take(array, np.arange(length) % given, axis=1)
        fitted[str(value.name)] = array.astype(value.dtype.numpy() if value.dtype else None)
    return fitted
