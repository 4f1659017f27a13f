"""Importance by the size of the weights: ||w||, of all that a unit owns (Han et al. 2015)."""

import numpy as np

from edgecompile.prune.units import Order, Units


def rank(units: Units) -> Order:
    """Return the units, those with the smallest weights first."""
    return np.argsort(units.norms, kind="stable")
