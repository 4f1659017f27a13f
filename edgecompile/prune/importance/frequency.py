"""Importance by how often a channel fires: the share of tokens at which it is above zero."""

import numpy as np

from edgecompile.errors import PruneError
from edgecompile.prune.units import Order, Units


def rank(units: Units) -> Order:
    """Return the channels, those that fire least often first."""
    if units.kind != "channels":
        msg = (
            "[prune] importance 'frequency' tells channels apart, not heads: a head always fires;"
            " give heads = 0, or another importance"
        )
        raise PruneError(msg)
    return np.argsort(sum(r.moments.fires for r in units.readers), kind="stable")
