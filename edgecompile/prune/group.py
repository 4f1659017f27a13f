"""What is pruned together: a group of units, and every place where a unit owns something.

A *unit* is the smallest thing that can go alone: a channel of an FFN, a head of an attention.
Everywhere that a group reaches, `owners` [length] says of each position along an axis which unit
owns it, -1 none: such a position stays whatever happens.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Owners = npt.NDArray[np.int64]

STAYS = -1
"""The owner of a position that no unit owns."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """An initializer that loses positions along an axis, for the (node, input) that read it so."""

    name: str
    axis: int
    owners: Owners
    uses: frozenset[tuple[str, int]]

    @property
    def block(self) -> int:
        """Return how many positions a unit owns."""
        return int(np.count_nonzero(self.owners == 0))


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """A number in the graph that counts positions: an attribute, or an entry of an int64 input.

    `slot` is the attribute's name or the input's number. `owners` are the positions counted.
    """

    node: str
    slot: str | int
    entry: int
    owners: Owners


@dataclass(frozen=True, slots=True, eq=False)
class Resize:
    """A computed tensor, graph input or graph output that gets narrower along an axis."""

    value: str
    axis: int
    owners: Owners


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """All that goes when a unit goes. `kind` is "channels" or "heads".

    `readers` names the weights [in, out] of the Linears that read the units: a unit u owns the
    rows [u * block, (u + 1) * block) of each.
    """

    name: str
    kind: str
    units: int
    cuts: tuple[Cut, ...]
    edits: tuple[Edit, ...]
    resizes: tuple[Resize, ...]
    readers: tuple[str, ...]
    block: int


def kept_positions(owners: Owners, keep: Collection[int]) -> npt.NDArray[np.bool_]:
    """Return which positions stay, [length], when these units are kept."""
    wanted = np.fromiter(keep, np.int64, len(keep))
    stays: npt.NDArray[np.bool_] = (owners == STAYS) | np.isin(owners, wanted)
    return stays
