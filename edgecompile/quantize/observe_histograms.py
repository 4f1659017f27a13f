"""Run samples through the float graph once more and keep a histogram of what each Linear reads.

The first pass (observe_ranges) has found the exact bounds, so that no histogram is ever rebinned:
memory is BINS counts a tensor, whatever the number of samples. Values are those after the plan's
equalising factors; padding is left out.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.graph import FloatArray
from edgecompile.plan import Activation
from edgecompile.quantize.choose_range import Histogram, Range
from edgecompile.quantize.observe_ranges import observed_rows

BINS = 2048
MOMENTUM = 0.9
"""Share of the past in a moving average."""


def observe_histograms(
    model: ir.Model, activations: Mapping[str, Activation], feeds: Iterable[Feed]
) -> dict[str, Histogram]:
    """Return a histogram of x / smoothing by activation.

    `model` is the float graph in a form that onnxruntime runs; `activations` hold the bounds that
    the first pass saw on the same feeds.
    """
    counts = {name: np.zeros(BINS, np.int64) for name in activations}
    moving: dict[str, Range] = {}
    for name, rows in observed_rows(model, sorted(activations), feeds):
        activation = activations[name]
        x = rows / activation.smoothing
        counts[name] += _count(x, activation.low, activation.high)
        low, high = float(x.min()), float(x.max())
        before = moving.get(name, (low, high))
        moving[name] = (_mix(before[0], low), _mix(before[1], high))
    return {
        name: Histogram(counts[name], activations[name].low, activations[name].high, moving[name])
        for name in counts
    }


def _count(x: FloatArray, low: float, high: float) -> FloatArray:
    width = max((high - low) / BINS, 1e-30)
    index = ((x - low) / width).astype(np.int64)
    return np.bincount(np.clip(index, 0, BINS - 1).ravel(), minlength=BINS)


def _mix(before: float, now: float) -> float:
    return MOMENTUM * before + (1 - MOMENTUM) * now
