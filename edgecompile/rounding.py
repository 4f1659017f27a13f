"""Rounding of float arrays to int8: two numpy functions and their inverse is `q * scale`."""

import numpy as np
import numpy.typing as npt

from edgecompile.gptq import round_rows
from edgecompile.graph import FloatArray

Int8Array = npt.NDArray[np.int8]
PAIR_LIMIT = 128
"""255 x 128 = 32,640 still fits 16 bits; 255 x 129 does not."""


def quantize_weight(
    weight: FloatArray, kind: str = "int8", hessian: FloatArray | None = None
) -> tuple[Int8Array, FloatArray]:
    """Quantize W [in, out] with one scale a column; return int8 [in, out] and scale [out].

    Rounds to the nearest or, given the Hessian [in, in] of what W is multiplied with, by GPTQ.

    "int8" uses -127..127. "int8-pairs" also keeps, for each pair of rows 2i and 2i + 1, the sum
    of the positive and the sum of the negative weights within 128: AVX2's vpmaddubsw adds the
    products of such a pair with activations of up to 255 in 16 bits, and would saturate.
    """
    if kind not in ("int8", "int8-pairs"):
        msg = f"no weight format '{kind}'"
        raise ValueError(msg)
    peak = np.abs(weight).max(axis=0)
    scale = peak / 127
    if kind == "int8-pairs":
        scale = np.maximum(scale, _largest_pair(weight) / PAIR_LIMIT)
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 1).astype(np.float32)
    if hessian is not None:
        return _round_by(hessian, weight / scale, kind), scale
    q = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    return (_within_pairs(q), scale) if kind == "int8-pairs" else (q, scale)


def _round_by(hessian: FloatArray, steps: FloatArray, kind: str) -> Int8Array:
    before = np.zeros(steps.shape[1])

    def nearest(row: int, values: FloatArray) -> FloatArray:
        low, high = np.full_like(values, -127), np.full_like(values, 127)
        if kind == "int8-pairs" and row % 2:  # what the pair's first row leaves
            low = np.maximum(low, np.maximum(-before, 0) - PAIR_LIMIT)
            high = np.minimum(high, PAIR_LIMIT - np.maximum(before, 0))
        before[...] = np.clip(np.rint(values), low, high)
        return before.copy()

    return np.ascontiguousarray(round_rows(steps, hessian, nearest).astype(np.int8))


def _pairs(weight: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """[in, out] -> [pairs, 2, out]; an odd last row is paired with zeros."""
    if len(weight) % 2:
        weight = np.concatenate([weight, np.zeros_like(weight[:1])])
    return weight.reshape(-1, 2, weight.shape[1])


def _largest_pair(weight: FloatArray) -> FloatArray:
    pairs = _pairs(weight)
    up = np.maximum(pairs, 0).sum(axis=1).max(axis=0)
    down = np.minimum(pairs, 0).sum(axis=1).min(axis=0)
    return np.asarray(np.maximum(up, -down))


def _within_pairs(q: Int8Array) -> Int8Array:
    """Take one step off the larger of a pair whose rounding went over the limit."""
    pairs = _pairs(q).astype(np.int16)
    for sign in (1, -1):
        signed = pairs * sign
        over = np.maximum(signed, 0).sum(axis=1) > PAIR_LIMIT
        larger = signed.argmax(axis=1)[:, None, :]
        step = np.take_along_axis(pairs, larger, axis=1) - sign * over[:, None, :]
        np.put_along_axis(pairs, larger, step, axis=1)
    return np.ascontiguousarray(pairs.reshape(-1, q.shape[1])[: len(q)].astype(np.int8))


def quantize_rows(table: FloatArray) -> tuple[Int8Array, FloatArray]:
    """Quantize an embedding table [rows, width], one scale a row: int8 [rows, width], [rows, 1]."""
    scale = np.abs(table).max(axis=1, keepdims=True) / 127
    scale = np.where(scale > 0, scale, 1).astype(np.float32)
    return np.rint(table / scale).astype(np.int8), scale
