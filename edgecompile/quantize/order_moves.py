"""The precision ladder: which Linears get more precision first.

    int8 -> dynamic (8 bits, the range found at each inference) -> float

Where only weights are rounded, their rung is in int8's place, and the next one is float.

A move takes all Linears that read one tensor up by one or two rungs. It gains a part of what the
model's output loses and costs milliseconds; moves are made in the order of gain per millisecond.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from edgecompile.graph import linears
from edgecompile.plan import Plan

RUNGS = ("int8", "dynamic", "float")
TABLES = "the embedding tables"
"""What a move names that concerns no activation."""
HELPS = 0.5
"""The dynamic rung must take away this share of int8's loss; else the next step is float."""
LEAST_COST = 0.02
"""What a move costs at least, as a share of int8's time: noise must not make it free."""


@dataclass(frozen=True, slots=True)
class Move:
    """One step up: the tensor whose readers it concerns, milliseconds it costs, R^2 gained.

    `lost` is the R^2 that those Linears lose alone in int8.
    """

    tensor: str
    rung: str
    lost: float
    gain: float
    cost_ms: float

    @property
    def worth(self) -> float:
        """Return the R^2 gained a millisecond."""
        return self.gain / self.cost_ms


def order_moves(
    lost: Mapping[str, Mapping[str, float]],
    ms: Mapping[str, Mapping[str, float]],
    added_bytes: Mapping[str, float] | None = None,
) -> list[Move]:
    """Return all moves up to float, the most worth first, each tensor's own in their order.

    `lost` is what the output loses (1 - R^2) by tensor and rung when that tensor alone is
    quantized, `ms` what its Linears take. Where tables are int4, `added_bytes` is what a float
    tensor's Linears and int8 tables cost more.
    """
    ladders = [_moves_of(name, lost[name], ms[name]) for name in lost if name != TABLES]
    order: list[Move] = []
    while ladders := [ladder for ladder in ladders if ladder]:
        best = max(ladders, key=lambda ladder: (ladder[0].worth, ladder[0].tensor))
        order.append(best.pop(0))
    if TABLES not in lost:
        return order
    table = lost[TABLES]["int8"]
    if added_bytes is None:  # float tables take no time but many bytes: they come last
        return [*order, Move(TABLES, "float", table, table, 0.0)]
    # Nor do int8 tables: they come after all that gain more a byte.
    least = table / added_bytes[TABLES]
    better = [n for n, move in enumerate(order) if move.gain / added_bytes[move.tensor] > least]
    order.insert(max(better, default=-1) + 1, Move(TABLES, "int8", table, table, 0.0))
    return order


def _moves_of(name: str, lost: Mapping[str, float], ms: Mapping[str, float]) -> list[Move]:
    def move(start: str, end: str) -> Move:
        gain = max(lost[start] - lost.get(end, 0.0), 0.0)
        cost = max(ms[end] - ms[start], LEAST_COST * ms["int8"])
        return Move(name, end, lost["int8"], gain, cost)

    if lost.get("dynamic", lost["int8"]) > HELPS * lost["int8"]:
        return [move("int8", "float")]
    return [move("int8", "dynamic"), move("dynamic", "float")]


def raise_precision(model: ir.Model, plan: Plan, moves: Sequence[Move]) -> Plan:
    """Return the plan after some moves; the reason of each is kept in it."""
    activations, kept = dict(plan.activations), dict(plan.kept_float)
    embeddings = plan.embeddings
    for move in moves:
        loses = f"it loses {move.lost:.1e} of the output's R² alone"
        why = f"the gate did not hold; in {plan.lowest} {loses}"
        if move.tensor == TABLES:
            embeddings = "" if move.rung == "float" else move.rung
        elif move.rung == "dynamic":
            activations[move.tensor] = replace(activations[move.tensor], dynamic=why)
        else:
            kept |= dict.fromkeys(readers(model, move.tensor), why)
            del activations[move.tensor]
    return replace(plan, activations=activations, kept_float=kept, embeddings=embeddings)


def only(model: ir.Model, plan: Plan, tensor: str, rung: str) -> Plan:
    """Return a plan in which nothing but one tensor's readers, or the tables, is quantized."""
    if tensor == TABLES:
        return Plan(embeddings=plan.embeddings)
    kept = {n: w for n, w in plan.kept_float.items() if n in readers(model, tensor)}
    activation = replace(plan.activations[tensor], dynamic="tried" if rung == "dynamic" else "")
    return Plan({tensor: activation}, kept, weights=plan.weights, outputs=plan.outputs)


def readers(model: ir.Model, tensor: str) -> list[str]:
    """Return the names of the Linears that read a tensor."""
    return [linear.name for linear in linears(model.graph) if linear.x.name == tensor]
