"""Rounding of weights by blocks of 32 along `in`, and the bytes in which MatMulNBits reads them."""

import numpy as np
import numpy.typing as npt

from edgecompile.gptq import round_rows
from edgecompile.graph import FloatArray

Bytes = npt.NDArray[np.uint8]
BLOCK = 32


def quantize_blocks(
    weight: FloatArray, bits: int, hessian: FloatArray | None = None
) -> tuple[Bytes, FloatArray, Bytes]:
    """Quantize W [in, out] by blocks; return q [out, blocks, 32], scale and zero [out, blocks].

    W is about scale * (q - zero), q in [0, 2**bits - 1]; the last block is padded with zeros. 8
    bits are symmetric (zero is 128), 4 bits use their 16 steps from each block's least to its
    greatest weight. Rounds to the nearest or, given the Hessian [in, in] of what W is multiplied
    with, by GPTQ, within the same steps.
    """
    columns, rows = weight.shape[1], len(weight)
    padded = np.zeros((columns, -(-rows // BLOCK) * BLOCK), np.float32)
    padded[:, :rows] = weight.T
    blocks = padded.reshape(columns, -1, BLOCK)
    top = 2**bits - 1
    low, high = np.minimum(blocks.min(axis=2), 0), np.maximum(blocks.max(axis=2), 0)
    scale = np.maximum(high, -low) / 127 if bits == 8 else (high - low) / top
    scale = np.where(scale > np.finfo(np.float32).tiny, scale, 1).astype(np.float32)
    zero = np.full_like(scale, 128) if bits == 8 else np.clip(np.rint(-low / scale), 0, top)
    if hessian is not None:
        padded[:, :rows] = _round_by(hessian, weight, scale, zero, top).T  # seen through blocks
    q = np.clip(np.rint(blocks / scale[..., None]) + zero[..., None], 0, top)
    return q.astype(np.uint8), scale, zero.astype(np.uint8)


def _round_by(
    hessian: FloatArray, weight: FloatArray, scale: FloatArray, zero: FloatArray, top: int
) -> FloatArray:
    """Return the rounded weight [in, out], each number a whole step of its block."""

    def nearest(row: int, values: FloatArray) -> FloatArray:
        step, shift = scale[:, row // BLOCK], zero[:, row // BLOCK]
        return np.asarray((np.clip(np.rint(values / step) + shift, 0, top) - shift) * step)

    return round_rows(weight, hessian, nearest)


def pack(q: Bytes, bits: int) -> Bytes:
    """Pack the last axis: 4-bit numbers go two a byte, the first one low; an odd end is padded."""
    if bits == 8:
        return q
    pairs = np.concatenate([q, np.zeros_like(q[..., : q.shape[-1] % 2])], axis=-1)
    return np.asarray(pairs[..., ::2] | (pairs[..., 1::2] << 4), np.uint8)
