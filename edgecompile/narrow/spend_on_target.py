"""Spend a budget of time or bytes on a target over all groups; say what other budgets would cost.

    fixed part + the groups' parts <= budget

The sum is a guess: a part alone finds its weights in the cache, and what parts share is counted
twice. So parts are scaled such that their sum is right for the whole and for the narrowest model,
and the chosen artifact is measured whole, beside the dense one: until it comes near the budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgecompile.errors import PruneError
from edgecompile.narrow.measure_groups import GroupCosts, measure_groups, narrow_to
from edgecompile.narrow.meters import Meter, latency_meter, size_meter
from edgecompile.prune.spend_budget import Level, spend_budget
from edgecompile.recipe import PruneTable, QuantizeTable, Recipe
from edgecompile.target import Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.prune.walk_groups import Stop

TRIES = 6
NEAR = 0.02
"""As far below the budget, at most, what was chosen may come without another try."""
POINTS = 10
"""Of the trade-off curve."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a budget is measured on: a target, the precision asked for, the sample to time."""

    board: Target
    quantize: QuantizeTable
    feed: "Feed"
    tokens: int


def aim_of(
    recipe: Recipe, board: Target | None, model: "ir.Model", golden: "Sequence[Feed]", longest: int
) -> Aim | None:
    """Return what a recipe's budgets are measured on: the longest of what [profile] times."""
    from edgecompile.profile.choose_feeds import choose_feeds

    if board is None or not recipe.prune.budget:
        return None
    timed = choose_feeds(model, golden, recipe.profile.sequence, longest)
    largest = max(timed, key=lambda sample: sample.sequence)
    return Aim(board, recipe.quantize, largest.feed, largest.sequence)


@dataclass(frozen=True, slots=True)
class Spent:
    """How many units each group keeps, what the manifest says of it, and the trade-off curve."""

    kept: Mapping[str, int]
    table: Mapping[str, Any]
    curve: Mapping[str, Any]


def spend_on_target(  # noqa: PLR0917 - a model, its levels, what is wished for
    dense: "ir.Model",
    model: "ir.Model",
    stops: "Sequence[Stop]",
    levels: Sequence[Sequence[Level]],
    wishes: PruneTable,
    aim: Aim,
) -> Spent:
    """Return what keeps most of the output within `latency` (a share of the dense) or `size`."""
    meter = (latency_meter if wishes.latency else size_meter)(aim.board, aim.quantize)
    counts = [[level.kept for level in row] for row in levels]
    costs = measure_groups(model, stops, counts, meter, aim.feed)
    priced = [
        [replace(level, cost=cost) for level, cost in zip(row, costs.by_group[name], strict=True)]
        for row, name in zip(levels, (stop.group.name for stop in stops), strict=True)
    ]
    purse = _fill(dense, model, stops, priced, meter, aim.feed)
    start = purse.start
    limit = wishes.latency * start if wishes.latency else float(wishes.size_bytes)
    chosen, total = purse.spend(limit, wishes)
    predicted = purse.predict(chosen)
    point = {"loss": sum(level.loss for level in chosen), "predicted": predicted, "cost": total}
    return Spent(
        purse.kept(chosen),
        _table(meter, aim, costs, start, limit) | {"predicted": predicted, "reached": total},
        {"unit": meter.unit, "dense": start, "points": purse.curve(), "chosen": point},
    )


def _table(meter: Meter, aim: Aim, costs: GroupCosts, dense: float, limit: float) -> dict[str, Any]:
    return {
        "target": aim.board.name,
        "unit": meter.unit,
        "kind": meter.kind,
        "how": meter.how,
        "tokens": aim.tokens,
        "dense": dense,
        "limit": limit,
        "parts": [dict(row) for row in costs.table],
    }


def _fill(  # noqa: PLR0917 - models, their levels, and what measures them
    dense: "ir.Model",
    model: "ir.Model",
    stops: "Sequence[Stop]",
    levels: Sequence[Sequence[Level]],
    meter: Meter,
    feed: "Feed",
) -> "_Purse":
    """Scale the parts' costs, so that their sum fits the whole model and the narrowest one."""
    most, least = [row[-1] for row in levels], _narrowest(levels)
    kept = {stop.group.name: level.kept for stop, level in zip(stops, least, strict=True)}
    narrowest = narrow_to(model, stops, kept)
    start, narrow, *others = meter.measure(
        [dense, narrowest, *([] if model is dense else [model])], feed
    )
    whole = others[0] if others else start
    parts = [sum(level.cost for level in chosen) for chosen in (most, least)]
    scale = max((whole - narrow) / (parts[0] - parts[1]), 0.0) if parts[0] > parts[1] else 1.0
    scaled = [[replace(level, cost=scale * level.cost) for level in row] for row in levels]
    return _Purse(dense, model, stops, scaled, meter, feed, start, whole - scale * parts[0])


def _narrowest(levels: Sequence[Sequence[Level]]) -> list[Level]:
    return [min(row, key=lambda level: level.cost) for row in levels]


@dataclass(frozen=True, slots=True, eq=False)
class _Purse:
    """What is to be spent on: levels with their costs, and how to measure what they come to.

    `start` is what the dense model costs, `fixed` what is left of it without the groups.
    """

    dense: "ir.Model"
    model: "ir.Model"
    stops: "Sequence[Stop]"
    levels: Sequence[Sequence[Level]]
    meter: Meter
    feed: "Feed"
    start: float
    fixed: float

    def kept(self, chosen: Sequence[Level]) -> dict[str, int]:
        pairs = zip(self.stops, chosen, strict=True)
        return {stop.group.name: level.kept for stop, level in pairs}

    def predict(self, chosen: Sequence[Level]) -> float:
        return self.fixed + sum(level.cost for level in chosen)

    def spend(self, limit: float, wishes: PruneTable) -> tuple[list[Level], float]:
        """Return levels that come near `limit` but not above, as measured, and to what."""
        narrowest = _narrowest(self.levels)
        low, high = self.predict(narrowest), self.predict([row[-1] for row in self.levels])
        aimed, best = min(limit, high), None
        tried: list[list[Level]] = []
        for _ in range(TRIES):
            chosen = spend_budget(self.levels, aimed - self.fixed) or narrowest
            if chosen in tried:
                break
            tried.append(chosen)
            total = self._measure(chosen)
            if total <= limit and (best is None or total > best[1]):
                best = chosen, total
            if (1 - NEAR) * limit <= total <= limit:
                break
            low, high = (aimed, high) if total <= limit else (low, aimed)
            aimed += limit - total
            if not low < aimed < high:
                aimed = (low + high) / 2
        if best is None:
            best = narrowest, self._measure(narrowest)
        if best[1] > limit:
            raise PruneError(self._missed(best[1], wishes))
        return best

    def curve(self) -> list[dict[str, float]]:
        """Return what budgets from the whole model's down to the least would cost and lose."""
        most = self.predict([row[-1] for row in self.levels])
        least = self.predict(_narrowest(self.levels))
        points = []
        for number in range(POINTS + 1):
            budget = most - (most - least) * number / POINTS
            chosen = [row[-1] for row in self.levels] if number == 0 else None
            chosen = chosen or spend_budget(self.levels, budget - self.fixed)
            if chosen is not None:
                loss = sum(level.loss for level in chosen)
                points.append({"cost": self.predict(chosen), "loss": loss})
        return points

    def _measure(self, chosen: Sequence[Level]) -> float:
        """Return the cost of the narrowed model, by the dense one's in the same run."""
        narrow = narrow_to(self.model, self.stops, self.kept(chosen))
        dense, total = self.meter.measure([self.dense, narrow], self.feed)
        return total * self.start / dense

    def _missed(self, least: float, wishes: PruneTable) -> str:
        if wishes.latency:
            asked, nearest = f"latency = {wishes.latency:g}", f"{least / self.start + 5e-3:.2f}"
        else:
            asked, nearest = f'size = "{wishes.size}"', f'"{-(-least // 1e3):.0f} kB"'
        return f"[prune] {asked} cannot be met by cutting units: the nearest that can is {nearest}"
