"""Visit a model's groups in order, with what each one's readers read and should give.

             cut             cut
    inputs ---|--- group 1 ---|--- group 2 --- ...     dense, and narrower group by group

The dense model and the one that gets narrower are run side by side, piece by piece. A reader's
target is what makes its residual sum that of the dense model, whatever came in beside it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed, valid_tokens
from edgecompile.graph import FloatArray, Linear, dim, linears, weight_array, weight_of
from edgecompile.prune.fit_weights import normal_equations
from edgecompile.prune.group import STAYS, Group
from edgecompile.prune.moments import Moments
from edgecompile.prune.narrow_arrays import narrow_arrays
from edgecompile.prune.segments import Piece, Store, find_cuts
from edgecompile.prune.units import Reader, Units
from edgecompile.valid_rows import valid_rows

Lower = Callable[[ir.Model], ir.Model]
"""Gives a canonical graph the form in which it is run; names of tensors stay."""


@dataclass(frozen=True, slots=True, eq=False)
class Stop:
    """Where a group is met: what its writers read, its readers, and what is added to theirs.

    `beside` and `total` name, by reader, the other operand of a residual sum and the sum.
    """

    group: Group
    reads: Sequence[str]
    readers: Sequence[Linear]
    beside: Mapping[str, str]
    total: Mapping[str, str]


def find_stops(model: ir.Model, groups: Sequence[Group]) -> list[Stop]:
    """Return the stops at all groups, in the graph's order."""
    place = {node: number for number, node in enumerate(model.graph)}
    by_weight = {str(linear.weight.name): linear for linear in linears(model.graph)}
    stops = [_stop(group, by_weight) for group in groups]
    return sorted(stops, key=lambda stop: min(place[r.matmul] for r in stop.readers))


def _stop(group: Group, by_weight: Mapping[str, Linear]) -> Stop:
    written = [cut.name for cut in group.cuts if cut.axis == 1 and cut.name in by_weight]
    readers = [by_weight[name] for name in group.readers]
    beside: dict[str, str] = {}
    total: dict[str, str] = {}
    for reader in readers:
        users = reader.y.consumers()
        if len(users) == 1 and users[0].op_type == "Add" and not users[0].domain:
            other = next((v for v in users[0].inputs if v is not None and v is not reader.y), None)
            if other is not None and not other.is_initializer():
                beside[reader.name] = str(other.name)
                total[reader.name] = str(users[0].outputs[0].name)
    reads = [str(by_weight[name].x.name) for name in written] + list(beside.values())
    return Stop(group, list(dict.fromkeys(reads)), readers, beside, total)


class Walk:
    """A walk over all stops; `model` is the narrower one as far as it is, `keep` its units."""

    def __init__(
        self,
        dense: ir.Model,
        stops: Sequence[Stop],
        lower: Lower,
        feeds: Iterable[Feed],
        folder: Path,
    ) -> None:
        """Begin before the first stop; what lies between pieces is kept in `folder`."""
        self.stops, self.feeds, self.lower, self.folder = stops, feeds, lower, folder
        self.whole = self.model = dense
        self.keep: dict[str, Sequence[int]] = {}
        self.dense = lower(dense)
        self.cuts = find_cuts(self.dense.graph, [stop.reads for stop in stops])

    def __iter__(self) -> Iterator[tuple[Stop, Units]]:
        """Yield each stop and what is known there; set `model` and `keep` before going on."""
        truth = own = Store(self.folder / "dense.0", [])
        for number, stop in enumerate(self.stops):
            old = {truth.path, own.path}
            truth = self._step(self.dense, truth, number, "dense")
            changed = self.model is not self.whole
            own = self._step(self.lower(self.model), own, number, "own") if changed else truth
            for path in old:
                path.unlink(missing_ok=True)
            yield stop, self._observe(stop, truth, own)

    def _step(self, lowered: ir.Model, before: Store, number: int, name: str) -> Store:
        """Run the piece up to a cut over all samples."""
        cut = self.cuts[number]
        after = Store(self.folder / f"{name}.{number + 1}", cut)
        piece = Piece(lowered, before.types, [n for n in cut if n not in before.names])
        feeds = self.feeds if name == "dense" else self._narrow_feeds()
        pairs = zip(feeds, before.read(), strict=False)
        after.write(
            {**kept, **piece({**feed, **kept}, i)} for i, (feed, kept) in enumerate(pairs, 1)
        )
        return after

    def _narrow_feeds(self) -> Iterator[Feed]:
        """Yield the samples as the narrower model takes them."""
        groups = [stop.group for stop in self.stops]
        return (narrow_arrays(groups, self.keep, feed) for feed in self.feeds)

    def _observe(self, stop: Stop, truth: Store, own: Store) -> Units:
        wanted = [stop.total.get(r.name, str(r.y.name)) for r in stop.readers]
        read = [str(r.x.name) for r in stop.readers]
        beside = list(stop.beside.values())
        target = Piece(self.dense, truth.types, wanted)
        unknown = [name for name in (*read, *beside) if name not in own.names]
        source = Piece(self.lower(self.model), own.types, unknown)
        moments = [
            Moments(*(dim(r.weight, axis) for axis in (0, 1)), centred=r.bias is not None)
            for r in stop.readers
        ]
        samples = zip(self.feeds, self._narrow_feeds(), truth.read(), own.read(), strict=False)
        for number, (feed, narrow, left, right) in enumerate(samples, 1):
            valid = valid_tokens(feed)
            truths = target({**feed, **left}, number)
            arrays = {**right, **source({**narrow, **right}, number)}
            for reader, seen, name in zip(stop.readers, moments, wanted, strict=True):
                y = truths[name]
                if reader.name in stop.beside:
                    y = y - arrays[stop.beside[reader.name]]
                seen.add(valid_rows(arrays[str(reader.x.name)], valid), valid_rows(y, valid))
        readers = [
            Reader(r.name, weight_of(r), seen, normal_equations(seen, weight_of(r)))
            for r, seen in zip(stop.readers, moments, strict=True)
        ]
        return Units(stop.group.kind, stop.group.block, norms_of(self.model, stop.group), readers)


def norms_of(model: ir.Model, group: Group) -> FloatArray:
    """Return the norm of all weights that a unit owns, [units]."""
    total = np.zeros(group.units)
    for cut in group.cuts:
        array = weight_array(model.graph.initializers[cut.name])
        if array.dtype.kind != "f":
            continue
        other = tuple(axis for axis in range(array.ndim) if axis != cut.axis)
        squares = np.square(array, dtype=np.float64).sum(axis=other)
        owned = cut.owners != STAYS
        total += np.bincount(cut.owners[owned], squares[owned], group.units)
    return np.sqrt(total)
