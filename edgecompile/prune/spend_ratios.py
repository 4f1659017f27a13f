"""Spend the recipe's ratios, a budget for each kind of units; say what other ratios would lose."""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecompile.errors import PruneError
from edgecompile.graph import weight_tensor
from edgecompile.prune.group import Group
from edgecompile.prune.spend_budget import Level, spend_budget

KINDS = {"heads": "heads", "channels": "ffn"}
"""Kinds of groups, and the recipe's key for each."""
STRIDE = 0.25
"""Points of the trade-off curve are so far apart, in the recipe's ratios."""
FURTHEST = 2.0


def spend_ratios(
    groups: Sequence[Group], levels: Sequence[Sequence[Level]], ratios: Mapping[str, float]
) -> list[Level]:
    """Return a level for each group; of each kind, at least the wished share goes."""
    chosen: dict[str, Level] = {}
    for kind, key in KINDS.items():
        mine = [i for i, group in enumerate(groups) if group.kind == kind]
        if not mine:
            continue
        total = sum(groups[i].units for i in mine)
        rows = [[Level(x.kept, float(x.kept), x.loss) for x in levels[i]] for i in mine]
        best = spend_budget(rows, int((1 - ratios[kind]) * total + 1e-9))
        if best is None:
            most = 1 - sum(row[0].cost for row in rows) / total
            msg = f"[prune] {key} = {ratios[kind]:g}: at most {most:.3f} can be removed"
            raise PruneError(msg)
        chosen |= {groups[i].name: level for i, level in zip(mine, best, strict=True)}
    return [chosen[group.name] for group in groups]


def ratio_curve(
    model: ir.Model,
    groups: Sequence[Group],
    levels: Sequence[Sequence[Level]],
    ratios: Mapping[str, float],
) -> dict[str, Any]:
    """Return what multiples of the ratios lose, as far as they can be met.

    A point's cost is the share of the cuttable weights that stays.
    """
    points = []
    for number in range(int(FURTHEST / STRIDE) + 1):
        scaled = {kind: ratio * number * STRIDE for kind, ratio in ratios.items()}
        try:
            chosen = spend_ratios(groups, levels, scaled)
        except PruneError:
            break
        points.append(point_of(model, groups, chosen))
    return {"unit": "share of the cuttable weights", "dense": 1.0, "points": points}


def point_of(model: ir.Model, groups: Sequence[Group], chosen: Sequence[Level]) -> dict[str, float]:
    """Return the cost and the loss of a choice."""
    sizes = [
        sum(weight_tensor(model.graph.initializers[cut.name]).size for cut in group.cuts)
        for group in groups
    ]
    stays = [
        size * level.kept / group.units
        for size, level, group in zip(sizes, chosen, groups, strict=True)
    ]
    return {"cost": sum(stays) / sum(sizes), "loss": sum(level.loss for level in chosen)}
