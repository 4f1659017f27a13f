"""What is known of a group's units when it is decided which of them go."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgecompile.graph import FloatArray
from edgecompile.prune.fit_weights import Fit, Rows
from edgecompile.prune.moments import Moments

Order = npt.NDArray[np.intp]
"""All units of a group, that first which should go first."""


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A Linear that reads the units: its weight [units * block, out], what it read, its fit."""

    name: str
    weight: FloatArray
    moments: Moments
    fit: Fit


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """A group's units: `norms` [units] are those of all weights that a unit owns.

    So many as `stay` at the least: which of them would go first is not asked. `observed` [units]
    is what the importance saw of the whole model, empty if nothing.
    """

    kind: str
    block: int
    norms: FloatArray
    readers: Sequence[Reader]
    stay: int = 1
    observed: FloatArray = field(default_factory=lambda: np.empty(0))

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.norms)

    def by_unit(self, rows: FloatArray) -> FloatArray:
        """Return the sum of a number by row, [units * block], for each unit: [units]."""
        return np.asarray(rows.reshape(self.count, self.block).sum(axis=1))


def rows_of(units: npt.NDArray[np.intp], block: int) -> Rows:
    """Return the rows that units own, in their order."""
    rows: Rows = (units[:, None] * block + np.arange(block)).reshape(-1)
    return rows
