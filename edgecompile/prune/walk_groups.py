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
from edgecompile.graph import Array, FloatArray, Linear, dim, linears, weight_array, weight_of
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
        truth = own = self._step(self.dense, Store(self.folder / "inputs", []), 0, "dense")
        for number, stop in enumerate(self.stops):
            units, after = self._observe(number, truth, own)
            yield stop, units
            last, passed = stop is self.stops[-1], {truth.path, own.path}
            if self.model is self.whole or last:
                own = after
            else:
                own = self._step(self.lower(self.model), own, number + 1, "own")
            truth = after
            for path in passed | ({after.path} if last else set()):
                path.unlink()

    def _step(self, lowered: ir.Model, before: Store, number: int, name: str) -> Store:
        """Run the piece up to a cut over all samples."""
        cut = self.cuts[number]
        after = Store(self.folder / f"{name}.{number}", cut)
        piece = _piece(lowered, before, cut)
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

    def _observe(self, number: int, truth: Store, own: Store) -> tuple[Units, Store]:
        """Run all samples past a stop; return what its readers saw, and the dense model behind."""
        stop = self.stops[number]
        seen = [
            Moments(*(dim(r.weight, axis) for axis in (0, 1)), centred=r.bias is not None)
            for r in stop.readers
        ]
        cut = self.cuts[number + 1] if number + 1 < len(self.cuts) else []
        after = Store(self.folder / f"dense.{number + 1}", cut)
        after.write(self._pass(stop, truth, own, seen, cut))
        readers = [
            Reader(r.name, weight_of(r), moments, normal_equations(moments, weight_of(r)))
            for r, moments in zip(stop.readers, seen, strict=True)
        ]
        norms = norms_of(self.model, stop.group)
        return Units(stop.group.kind, stop.group.block, norms, readers), after

    def _pass(
        self, stop: Stop, truth: Store, own: Store, seen: Sequence[Moments], cut: Sequence[str]
    ) -> Iterator[Mapping[str, Array]]:
        """Yield each sample's tensors of the next cut; add what readers read to `seen`."""
        wanted = [stop.total.get(r.name, str(r.y.name)) for r in stop.readers]
        read = [*(str(r.x.name) for r in stop.readers), *stop.beside.values()]
        same = own is truth
        target = _piece(self.dense, truth, [*wanted, *cut, *(read if same else [])])
        source = _piece(self.dense if same else self.lower(self.model), own, [] if same else read)
        samples = zip(self.feeds, self._narrow_feeds(), truth.read(), own.read(), strict=False)
        for number, (feed, narrow, left, right) in enumerate(samples, 1):
            valid = valid_tokens(feed)
            truths = {**left, **target({**feed, **left}, number)}
            arrays = truths if same else {**right, **source({**narrow, **right}, number)}
            for reader, moments, name in zip(stop.readers, seen, wanted, strict=True):
                y = truths[name]
                if reader.name in stop.beside:
                    y = y - arrays[stop.beside[reader.name]]
                moments.add(valid_rows(arrays[str(reader.x.name)], valid), valid_rows(y, valid))
            yield truths


def _piece(lowered: ir.Model, before: Store, names: Iterable[str]) -> Piece:
    return Piece(lowered, before.types, [name for name in names if name not in before.names])


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
