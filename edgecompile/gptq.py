"""Rounding of weights that looks at what they are multiplied with (Frantar et al. 2022, GPTQ).

Rows are rounded one after the other; what each loses is made up for by the rows that are still to
come, as far as the activations of both go together: W[j] -= U[i, j] / U[i, i] * (W[i] - Q[i]) with
U the upper Cholesky factor of the inverse Hessian (their equations 2 and 3, and section 3.3).
"""

from collections.abc import Callable

import numpy as np

from edgecompile.graph import FloatArray

DAMPING = 0.01
"""Share of the Hessian's mean diagonal that is added to it: calibration saw few directions."""
BLOCK = 32
"""Rows whose corrections are applied together: one matrix product instead of many."""

Round = Callable[[int, FloatArray], FloatArray]
"""Row number and row [out] -> what it becomes, in the same unit."""


def round_rows(weight: FloatArray, hessian: FloatArray, nearest: Round) -> FloatArray:
    """Round a weight [in, out], in any unit of its columns, by E[x x^T] [in, in]."""
    steps = weight.astype(np.float64)
    rows = len(steps)
    factor = _inverse_factor(hessian)
    q = np.empty_like(steps)
    for start in range(0, rows, BLOCK):
        block = slice(start, min(start + BLOCK, rows))
        lost = np.empty((block.stop - start, steps.shape[1]))
        for i in range(start, block.stop):
            q[i] = nearest(i, steps[i])
            lost[i - start] = (steps[i] - q[i]) / factor[i, i]
            rest = slice(i + 1, block.stop)
            steps[rest] -= factor[i, rest, None] * lost[i - start]
        steps[block.stop :] -= factor[block, block.stop :].T @ lost
    return q


def _inverse_factor(hessian: FloatArray) -> FloatArray:
    """Return the upper U with U^T U = (H + damping)^-1."""
    h = hessian.astype(np.float64)
    diagonal = np.einsum("ii->i", h)
    diagonal += max(DAMPING * diagonal.mean(), 1e-10)
    factor: FloatArray = np.linalg.cholesky(np.linalg.inv(h)).T
    return factor
