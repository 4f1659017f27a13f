"""Make a float graph narrower: find groups, see what each can spare, cut and repair in order.

find groups -> survey (what is lost at each width) -> spend the budget -> cut, repair, next
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import PruneError
from edgecompile.plan import FLOAT
from edgecompile.prune.choose_levels import TRIED, counts_of, levels_of, losses_of
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.group import Group
from edgecompile.prune.importances import importance
from edgecompile.prune.narrow_arrays import narrow_answers, narrow_arrays
from edgecompile.prune.refit_readers import refit_readers
from edgecompile.prune.remove_units import remove_units
from edgecompile.prune.spend_budget import Level, spend_budget
from edgecompile.prune.units import Order, Units, rows_of
from edgecompile.prune.walk_groups import Stop, Walk, find_stops
from edgecompile.recipe import PruneTable
from edgecompile.stages import lower
from edgecompile.target import REFERENCE
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.data.source import Stretch
    from edgecompile.graph import Array
    from edgecompile.parts import Part

SURVEYED = 128
"""Samples by which is decided how many units each group keeps."""
JUDGED = 32
"""Samples on which it is measured what a group means to the output."""
KINDS = {"heads": "heads", "channels": "ffn"}
"""Kinds of groups, and the recipe's key for each."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The narrower model, what each group keeps, and what the manifest says of it."""

    model: "ir.Model"
    groups: Sequence[Group]
    keep: Mapping[str, Sequence[int]]
    table: Mapping[str, Any]

    def own_data(self, part: "Part", given: "Dataset", data: "Dataset") -> "Dataset":
        """Return a dense part's data as the narrower one has it: with a cache of its own."""
        from edgecompile.parts import complete_data, proceeded_by

        complete = proceeded_by(part, self.model)
        return data if part.given is None or complete is None else complete_data(given, complete)

    def narrow(self, answers: "Sequence[Array]") -> "list[Array]":
        """Return the dense model's answers without what the cut units own of its cache."""
        names = [str(value.name) for value in self.model.graph.outputs]
        return narrow_answers(self.groups, self.keep, names, answers)


def prune_units(
    model: "ir.Model", part: "Part", data: "Dataset", wishes: PruneTable, trace: Trace
) -> Pruned:
    """Return a part's narrower model, repaired on `data.repair`."""
    ratios = {kind: getattr(wishes, key) for kind, key in KINDS.items()}
    if part.follows and ratios["heads"] > 0:
        trace.say("warning", f"the {part.name} keeps its heads: its cache is also another part's")
        ratios["heads"] = 0.0
    feeds = data.repair or data.calibration
    trace.say("prune", "finding coupled channels and heads")
    groups = [g for g in _groups(model, ratios) if ratios[g.kind] > 0]
    stops = find_stops(model, groups)
    trace.say("prune", f"seeing what {len(groups)} groups of units can spare")
    with trace.step("prune", "survey-groups") as done:
        levels = _survey(model, stops, wishes, feeds)
        done(model)
    kept = _spend(stops, levels, ratios)
    trace.say("prune", f"cutting and repairing on {len(feeds)} samples")
    with trace.step("prune", "cut-and-repair") as done:
        pruned = _cut_and_repair(model, stops, kept, wishes, data)
        done(pruned.model)
    return pruned


def _groups(model: "ir.Model", ratios: Mapping[str, float]) -> list[Group]:
    found = find_groups(model)
    for kind, ratio in ratios.items():
        if ratio > 0 and not any(group.kind == kind for group in found.found):
            reasons = "; ".join(f"{n}: {why}" for n, why in found.refused.items())
            msg = f"[prune] {KINDS[kind]} = {ratio:g}: no {kind} can be cut ({reasons or 'none'})"
            raise PruneError(msg)
    return found.found


def _lower(model: "ir.Model") -> "ir.Model":
    return lower(model, FLOAT, REFERENCE)


def _survey(
    model: "ir.Model", stops: Sequence[Stop], wishes: PruneTable, feeds: "Stretch"
) -> list[list[Level]]:
    """Return what each group loses at each number of units kept; its cost is that number."""
    rank = importance(wishes.importance)
    found = []
    judge = _judge(model, [stop.group for stop in stops], feeds.first(JUDGED))
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        walk = Walk(model, stops, _lower, feeds.first(SURVEYED), Path(folder))
        for stop, units in walk:
            order, counts = rank(units), counts_of(units)
            lost = losses_of(units, order, counts)
            tried = min(counts, key=lambda c: abs(c - TRIED * units.count))
            chosen = np.sort(order[units.count - tried :])
            narrow = _narrow(model, stop, units, chosen, repair=wishes.repair)
            harm = judge(narrow, {stop.group.name: [int(unit) for unit in chosen]})
            found.append(levels_of(counts, lost, [float(c) for c in counts], tried, harm))
    return found


def _judge(
    dense: "ir.Model", groups: Sequence[Group], feeds: "Stretch"
) -> "Callable[[ir.Model, Mapping[str, Sequence[int]]], float]":
    """Return what says how much of the output a narrower model loses (1 - R^2)."""
    from edgecompile.evaluate.accuracy import signal
    from edgecompile.session import answer, session

    samples = list(feeds)
    truths = answer(session(_lower(dense)), samples)
    names = [str(value.name) for value in dense.graph.outputs]

    def judge(model: "ir.Model", keep: Mapping[str, Sequence[int]]) -> float:
        fed = [narrow_arrays(groups, keep, feed) for feed in samples]
        wanted = [narrow_answers(groups, keep, names, truth) for truth in truths]
        return 1 - signal(answer(session(_lower(model)), fed), wanted, fed)

    return judge


def _spend(
    stops: Sequence[Stop], levels: Sequence[Sequence[Level]], ratios: Mapping[str, float]
) -> dict[str, int]:
    """Return how many units each group keeps."""
    kept: dict[str, int] = {}
    for kind, key in KINDS.items():
        chosen = [i for i, stop in enumerate(stops) if stop.group.kind == kind]
        if not chosen:
            continue
        total = sum(stops[i].group.units for i in chosen)
        best = spend_budget([levels[i] for i in chosen], round((1 - ratios[kind]) * total))
        if best is None:
            most = 1 - sum(levels[i][0].cost for i in chosen) / total
            msg = f"[prune] {key} = {ratios[kind]:g}: at most {most:.3f} can be removed"
            raise PruneError(msg)
        kept |= {stops[i].group.name: level.kept for i, level in zip(chosen, best, strict=True)}
    return kept


def _cut_and_repair(
    model: "ir.Model",
    stops: Sequence[Stop],
    kept: Mapping[str, int],
    wishes: PruneTable,
    data: "Dataset",
) -> Pruned:
    """Walk over the groups; each is cut and repaired before the next one is looked at."""
    rank = importance(wishes.importance)
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        walk = Walk(model, stops, _lower, data.repair or data.calibration, Path(folder))
        for stop, units in walk:
            group = stop.group
            chosen = np.sort(rank(units)[units.count - kept[group.name] :])
            walk.keep[group.name] = [int(unit) for unit in chosen]
            walk.model = _narrow(walk.model, stop, units, chosen, repair=wishes.repair)
    table = {
        "importance": wishes.importance,
        "repair": wishes.repair,
        "groups": {
            group.name: {"kind": group.kind, "units": group.units, "kept": kept[group.name]}
            for group in (stop.group for stop in stops)
        },
    }
    return Pruned(walk.model, [stop.group for stop in stops], walk.keep, table)


def _narrow(
    model: "ir.Model", stop: Stop, units: Units, chosen: Order, *, repair: bool
) -> "ir.Model":
    """Return a model in which one group is cut, and its readers repaired."""
    name = stop.group.name
    narrow = remove_units(model, [stop.group], {name: [int(unit) for unit in chosen]})
    if not repair:
        return narrow
    rows = rows_of(chosen, units.block)
    return refit_readers(narrow, {r.name: r.fit.solve(rows) for r in units.readers})
