"""A tensor by token, without the padding."""

import numpy as np

from edgecompile.graph import FloatArray


def valid_rows(array: FloatArray, valid: np.ndarray | None) -> FloatArray:
    """[B, S, C] -> [valid tokens, C]; any other shape -> [all, C]."""
    if valid is not None and array.shape[:2] == valid.shape and array.ndim == 3 and not valid.all():
        return np.asarray(array[valid])
    if valid is not None and array.ndim == 2 and len(array) == valid.size:
        return np.asarray(array[valid.ravel()])  # [B S, C], as some exporters flatten it
    return array.reshape(-1, array.shape[-1])
