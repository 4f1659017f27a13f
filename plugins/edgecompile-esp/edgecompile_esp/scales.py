"""Scales as ESP-DL has them: powers of two."""

from typing import Any

import numpy as np
import numpy.typing as npt


def power_above(numbers: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return the lowest powers of two that are no less than some numbers."""
    return np.asarray(np.exp2(np.ceil(np.log2(np.maximum(numbers, 2.0**-40)))))


def round_weight(
    weight: npt.NDArray[np.float32], *, by_column: bool
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round W [in, out]; return int8 [in, out] and scale, [out] or [].

    `real = scale * q`, q in [-127, 127]; esp-ppq finds the same scale and integers again from the
    product: it takes the power of two above peak / 127.5.
    """
    peak = np.abs(weight).max(axis=0 if by_column else None)
    scale = power_above(peak / 127.5)
    q = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
    return q, scale.astype(np.float32)
