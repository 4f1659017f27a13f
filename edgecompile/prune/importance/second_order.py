"""Importance by what is lost once the others have made up for a unit: the optimal brain surgeon.

score = tr(w^T ([H^-1]_uu)^-1 w), w the unit's rows of the refitted weight, H the Gram matrix of
what the Linear reads (Hassibi and Stork 1993; by structure Kurtic et al. 2023, ZipLM, eq. 3).
Scores are found anew each time some units are gone, for what makes up for a unit may go itself.
"""

from dataclasses import dataclass

import numpy as np

from edgecompile.prune.fit_weights import Rows
from edgecompile.prune.moments import Float64
from edgecompile.prune.units import Order, Reader, Units, rows_of

ROUNDS = 16
"""Many units go in so many rounds."""
FEW = 64
"""Of at most this many units, one goes at a time."""


def rank(units: Units) -> Order:
    """Return the units, those that the others replace best first."""
    alive = np.arange(units.count)
    gone: list[np.intp] = []
    states = [_State.of(reader) for reader in units.readers]
    step = 1 if units.count <= FEW else -(-units.count // ROUNDS)
    while len(alive) > units.stay:
        scores = np.sum([state.scores(units.block) for state in states], axis=0)
        first = np.argsort(scores, kind="stable")[: min(step, len(alive) - units.stay)]
        gone += list(alive[first])
        alive = np.delete(alive, first)
        states = [state.without(rows_of(first, units.block)) for state in states]
    return np.array([*gone, *alive])


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """H^-1 [rows, rows] and the refitted weight [rows, out] for the rows that are left."""

    inverse: Float64
    weight: Float64

    @classmethod
    def of(cls, reader: Reader) -> "_State":
        inverse: Float64 = np.linalg.inv(reader.fit.gram).astype(np.float64)
        return cls(inverse, inverse @ reader.fit.right)

    def scores(self, block: int) -> Float64:
        """Return what is lost with each unit, [units]."""
        if block == 1:
            return np.asarray(np.square(self.weight).sum(axis=1) / np.diag(self.inverse))
        own = np.arange(len(self.weight)).reshape(-1, block)
        mine = self.weight[own]  # [units, block, out]
        corners = self.inverse[own[:, :, None], own[:, None, :]]  # [units, block, block]
        return np.asarray((mine * np.linalg.solve(corners, mine)).sum(axis=(1, 2)))

    def without(self, rows: Rows) -> "_State":
        """Return the state when some rows are gone and the others have made up for them."""
        kept = np.delete(np.arange(len(self.weight)), rows)
        across = self.inverse[np.ix_(kept, rows)]
        corner = self.inverse[np.ix_(rows, rows)]
        inverse = self.inverse[np.ix_(kept, kept)] - across @ np.linalg.solve(corner, across.T)
        weight = self.weight[kept] - across @ np.linalg.solve(corner, self.weight[rows])
        return _State(inverse, weight)
