"""Importance by what a unit adds: the size of its activation times that of its weights.

score = sum over its rows of E[x^2] |w|^2 (Sun et al. 2023, Wanda, by structure)
"""

import numpy as np

from edgecompile.prune.units import Order, Units


def rank(units: Units) -> Order:
    """Return the units, those that add least first."""
    scores = np.zeros(units.count)
    for reader in units.readers:
        square = np.diag(reader.moments.xx)
        scores += units.by_unit(square * np.square(reader.weight).sum(axis=1))
    return np.argsort(scores, kind="stable")
