"""Make a float graph narrower: find groups, see what each can spare, cut and repair in order.

leave layers out -> find groups -> survey (what is lost at each width) -> spend -> cut and repair
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.data.join_feeds import join_feeds
from edgecompile.errors import PruneError
from edgecompile.narrow.judge_narrow import Judge, Keep, judge_narrow
from edgecompile.narrow.spend_on_target import Aim, Spent, spend_on_target
from edgecompile.prune.choose_layers import choose_layers
from edgecompile.prune.choose_levels import TRIED, counts_of, levels_of, losses_of
from edgecompile.prune.count_above import count_above
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.group import Group
from edgecompile.prune.importances import importance, observer
from edgecompile.prune.narrow_arrays import narrow_answers
from edgecompile.prune.refit_readers import refit_readers
from edgecompile.prune.remove_units import remove_units
from edgecompile.prune.spend_budget import Level
from edgecompile.prune.spend_ratios import KINDS, point_of, ratio_curve, spend_ratios
from edgecompile.prune.units import Order, Units, rows_of
from edgecompile.prune.walk_groups import Stop, Walk, find_stops
from edgecompile.recipe import PruneTable
from edgecompile.scratch import scratch_folder
from edgecompile.stages import lower_float
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.data.feed import Feed
    from edgecompile.data.source import Stretch
    from edgecompile.graph import Array, FloatArray
    from edgecompile.parts import Part

SURVEYED = 128
"""Samples by which is decided how many units each group keeps."""
JUDGED = 32
"""Samples on which it is measured what a group means to the output."""
ENOUGH = 8 * JUDGED
"""From so many samples on, those that judge are kept apart from those that repair."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The narrower model, what each group keeps, and what the manifest says of it."""

    model: "ir.Model"
    groups: Sequence[Group]
    keep: Keep
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


@dataclass(frozen=True, slots=True)
class _Job:
    """What all steps share: wishes, samples joined, and what an importance saw of the model."""

    wishes: PruneTable
    feeds: "Iterable[Feed]"
    surveyed: "Iterable[Feed]"
    judge: Judge
    observed: "Mapping[str, FloatArray]" = field(default_factory=dict)

    def order(self, stop: Stop, units: Units, stay: int = 1) -> Order:
        """Return a group's units, the first to go first."""
        observed = self.observed.get(stop.group.name, units.observed)
        return importance(self.wishes.importance)(replace(units, stay=stay, observed=observed))


def prune_units(  # noqa: PLR0917 - a part, its data, what is wished for, whom to tell
    model: "ir.Model",
    part: "Part",
    data: "Dataset",
    wishes: PruneTable,
    trace: Trace,
    aim: Aim | None = None,
) -> Pruned:
    """Return a part's narrower model, repaired on `data.repair`; `aim` says what budgets are of."""
    if wishes.budget and aim is None:
        msg = "[prune] latency and size are of a target: name one in [targets], or give ratios"
        raise PruneError(msg)
    feeds = data.repair or data.calibration
    dense, lowered = model, lower_float(model)
    table: dict[str, Any] = {"importance": wishes.importance, "repair": wishes.repair}
    if wishes.layers:
        model, table["layers"] = _leave_out(model, feeds, wishes.layers, trace)
    if not replace(wishes, layers=0).cuts_units:
        return Pruned(model, [], {}, table)
    trace.say("prune", "finding coupled channels and heads")
    groups = _groups(model, part, wishes, trace)
    stops = find_stops(model, groups)
    fitted = feeds.after(JUDGED) if len(feeds) >= ENOUGH else feeds
    job = _Job(
        wishes,
        join_feeds(lowered, fitted),
        join_feeds(lowered, fitted.first(SURVEYED)),
        judge_narrow(dense, groups, feeds.first(JUDGED)),
    )
    if (observe := observer(wishes.importance)) is not None:
        trace.say("prune", f"seeing what {wishes.importance} says of {len(stops)} groups")
        job = replace(job, observed=observe(model, groups, job.surveyed))
    chosen = _choose(dense, model, stops, job, trace, aim)
    trace.say("prune", f"cutting and repairing on {len(fitted)} samples")
    with trace.step("prune", "cut-and-repair") as done:
        narrow, keep = _cut_and_repair(model, stops, chosen.kept, job)
        done(narrow)
    table |= {"groups": _rows(stops, chosen.kept), **_told(chosen, job.judge(narrow, keep))}
    return Pruned(narrow, groups, keep, table)


def _leave_out(
    model: "ir.Model", feeds: "Stretch", count: int, trace: Trace
) -> tuple["ir.Model", list[dict[str, Any]]]:
    """Leave whole layers out, those that harm the output least."""
    trace.say("prune", f"trying which of the layers harm least: {count} go")
    judge = judge_narrow(model, [], feeds.first(JUDGED))
    with trace.step("prune", "choose-layers") as done:
        model, dropped = choose_layers(model, count, lambda tried: judge(tried, {}))
        done(model)
    return model, [asdict(row) for row in dropped]


def _groups(model: "ir.Model", part: "Part", wishes: PruneTable, trace: Trace) -> list[Group]:
    """Return the groups that the wishes mean: of the kinds that have a ratio, or all of them."""
    found = find_groups(model)
    keeps_heads = part.follows and any(group.kind == "heads" for group in found.found)
    if keeps_heads and (wishes.heads or not wishes.ffn):
        trace.say("warning", f"the {part.name} keeps its heads: its cache is also another part's")
    ratios = {kind: getattr(wishes, key) for kind, key in KINDS.items()}
    wanted = {k: f"{KINDS[k]} = {r:g}" for k, r in ratios.items() if r > 0}
    reasons = "; ".join(f"{name}: {why}" for name, why in found.refused.items()) or "none is there"
    for kind, wish in wanted.items():
        if not any(group.kind == kind for group in found.found):
            msg = f"[prune] {wish}: no {kind} can be cut ({reasons})"
            raise PruneError(msg)
    if not found.found:
        msg = f"[prune]: neither channels nor heads can be cut ({reasons})"
        raise PruneError(msg)
    return [
        group
        for group in found.found
        if (not wanted or group.kind in wanted) and not (part.follows and group.kind == "heads")
    ]


def _choose(  # noqa: PLR0917 - a model, what is wished for, whom to tell
    dense: "ir.Model",
    model: "ir.Model",
    stops: Sequence[Stop],
    job: _Job,
    trace: Trace,
    aim: Aim | None,
) -> Spent:
    """Return how many units each group keeps: by a threshold, a budget or ratios."""
    wishes, groups = job.wishes, [stop.group for stop in stops]
    if wishes.threshold:
        return Spent(count_above(model, groups, wishes.threshold), {}, {})
    trace.say("prune", f"seeing what {len(groups)} groups of units can spare")
    with trace.step("prune", "survey-groups") as done:
        levels = _survey(model, stops, job)
        done(model)
    if aim is not None and wishes.budget:
        trace.say("prune", f"measuring what units cost on {aim.board.name}")
        with trace.step("prune", "spend-budget") as done:
            spent = spend_on_target(dense, model, stops, levels, wishes, aim)
            done(model)
        return spent
    ratios = {kind: getattr(wishes, key) for kind, key in KINDS.items()}
    chosen = spend_ratios(groups, levels, ratios)
    kept = {group.name: level.kept for group, level in zip(groups, chosen, strict=True)}
    curve = ratio_curve(model, groups, levels, ratios)
    return Spent(kept, {}, curve | {"chosen": point_of(model, groups, chosen)})


def _rows(stops: Sequence[Stop], kept: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    return {
        group.name: {"kind": group.kind, "units": group.units, "kept": kept[group.name]}
        for group in (stop.group for stop in stops)
    }


def _told(spent: Spent, loss: float) -> dict[str, Any]:
    """Return what the manifest says of a budget and its curve; `loss` is what it came to."""
    told: dict[str, Any] = {"loss": loss, "loss_is": f"1 - R^2 of {JUDGED} calibration samples"}
    if spent.table:
        told["budget"] = dict(spent.table)
    if spent.curve:
        told["curve"] = {**spent.curve, "chosen": {**spent.curve["chosen"], "measured_loss": loss}}
    return told


def _survey(model: "ir.Model", stops: Sequence[Stop], job: _Job) -> list[list[Level]]:
    """Return what each group loses at each number of units kept; its cost is that number."""
    found = []
    with scratch_folder() as folder:
        walk = Walk(model, stops, lower_float, job.surveyed, folder)
        for stop, units in walk:
            order, counts = job.order(stop, units), counts_of(units)
            lost = losses_of(units, order, counts)
            tried = min(counts, key=lambda c: abs(c - TRIED * units.count))
            chosen = np.sort(order[units.count - tried :])
            narrow = _narrow(model, stop, units, chosen, repair=job.wishes.repair)
            harm = job.judge(narrow, {stop.group.name: [int(unit) for unit in chosen]})
            found.append(levels_of(counts, lost, [float(c) for c in counts], tried, harm))
    return found


def _cut_and_repair(
    model: "ir.Model", stops: Sequence[Stop], kept: Mapping[str, int], job: _Job
) -> tuple["ir.Model", Keep]:
    """Walk over the groups; each is cut and repaired before the next one is looked at."""
    with scratch_folder() as folder:
        walk = Walk(model, stops, lower_float, job.feeds, folder)
        for stop, units in walk:
            count = kept[stop.group.name]
            chosen = np.sort(job.order(stop, units, count)[units.count - count :])
            walk.keep[stop.group.name] = [int(unit) for unit in chosen]
            walk.model = _narrow(walk.model, stop, units, chosen, repair=job.wishes.repair)
    return walk.model, walk.keep


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
