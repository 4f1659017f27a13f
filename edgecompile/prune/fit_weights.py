"""The weights that make the most of the units that are left: least squares, in closed form.

    min over V, c of   sum of |y - V^T x_kept - c|^2  +  damping |V - W_kept|^2

y is what the dense model gives at this place, x what the narrower one has there: what earlier
layers got wrong is seen, and made good as far as these units can. The damping keeps weights that
the data does not determine near the old ones.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecompile.graph import FloatArray
from edgecompile.prune.moments import Float64, Moments

DAMPING = 1e-3
"""Of the mean of the Gram matrix' diagonal."""
BLOCK = 64
"""Rows that are solved for at once."""
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The normal equations of a Linear: damped Gram matrix [n, n], right side [n, out], means."""

    gram: Float64
    right: Float64
    mean_x: Float64
    mean_y: Float64

    def solve(self, rows: Rows) -> tuple[FloatArray, FloatArray]:
        """Return the weight [rows, out] and the bias [out] when nothing else is left of x."""
        weight = np.linalg.solve(self.gram[np.ix_(rows, rows)], self.right[rows])
        bias = self.mean_y - self.mean_x[rows] @ weight
        return weight.astype(np.float32), bias.astype(np.float32)

    def explained(self, rows: Rows) -> Float64:
        """Return how much of the sum of squares the first row explains, the first two, ..."""
        factor = np.linalg.cholesky(self.gram[np.ix_(rows, rows)])
        parts = _forward(factor.astype(np.float64), self.right[rows])
        return np.asarray(np.cumsum(np.square(parts).sum(axis=1)))


def _forward(lower: Float64, right: Float64) -> Float64:
    """Return x of L x = b, L [n, n] a lower triangle, block after block: numpy has no such."""
    x = right.copy()
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        x[block] -= lower[block, :start] @ x[:start]
        x[block] = np.linalg.solve(lower[block, block], x[block])
    return x


def normal_equations(moments: Moments, weight: FloatArray) -> Fit:
    """Return the equations for a Linear whose weight is [n, out]."""
    gram, right = moments.gram(), moments.cross()
    damping = DAMPING * float(np.diag(gram).mean()) or 1.0  # 1: nothing was ever read
    gram[np.diag_indices_from(gram)] += damping
    return Fit(gram, right + damping * weight, *moments.means())
