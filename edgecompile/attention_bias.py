"""What a foreign attention adds to its scores: guesses, for the fusing pass to verify.

A guess that numbers support on short inputs is not enough: a window of 128 tokens shows on none of
them. So what enters the scores must, in the probe's long run, tell tokens apart by attention_mask
alone; only what a guess itself keeps may do more.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgecompile.attention import MASKED
from edgecompile.graph import FloatArray
from edgecompile.probe import Probe
from edgecompile.probe_feeds import MASK

Guess = tuple[Sequence[ir.Value | str], tuple[FloatArray, ...]]
"""What the bias is the sum of (MASK stands for the padding bias), and its array in each run."""


def guess_biases(
    probe: Probe, added: Sequence[ir.Value], entering: Sequence[ir.Value]
) -> Iterator[Guess]:
    """Yield the padding bias, then no bias, then the sum of what an exporter `added`.

    `entering` is everything that goes into the scores and does not come from a projection.
    """
    if all(_tells_padding_only(value, probe) for value in entering):
        if MASK in probe.feeds[0]:
            yield [MASK], tuple(_padding(feed[MASK]) for feed in probe.feeds)
        yield [], (np.zeros((1, 1, 1, 1), np.float32),) * len(probe.feeds)
    rest = [value for value in entering if value not in added]
    arrays = [seen for value in added if (seen := probe.of(value)) is not None]
    if not arrays or len(arrays) != len(added):
        return
    sums = tuple(sum(run[1:], run[0]) for run in zip(*arrays, strict=True))
    if all(_tells_padding_only(value, probe) for value in rest):
        yield added, sums


def fits(bias: FloatArray, arrays: Sequence[FloatArray], heads: int) -> bool:
    """Say whether a bias broadcasts to the scores [B, heads, S, T] of q, k, v [B, S, E]."""
    q, k = arrays[0].shape, arrays[1].shape
    scores = (q[0], heads, q[1], k[1])
    return bias.ndim == 4 and all(d in (1, s) for d, s in zip(bias.shape, scores, strict=True))


def _padding(mask: FloatArray) -> FloatArray:
    return (1 - mask[:, None, None, :].astype(np.float32)) * np.float32(MASKED)


def _tells_padding_only(value: ir.Value, probe: Probe) -> bool:
    """Say whether a tensor holds one number for all valid tokens and one for all padding."""
    if not probe.far:
        return True
    array = probe.far.get(str(value.name))
    if array is None:
        return False
    if array.size < 2 or (array.ndim < 2 and array.dtype.kind == "i"):
        return True  # a number or a shape
    mask = probe.far.get(MASK)
    parts = [array]
    if mask is not None and mask.ndim == 2 and array.shape[-1] == mask.shape[-1]:
        parts = [array[..., mask[0] == kept] for kept in (0, 1)]
    return all(part.size == 0 or bool(np.all(part == part.flat[0])) for part in parts)
