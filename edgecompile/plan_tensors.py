"""Add to a plan the range of every tensor, for engines that have no float to fall back to."""

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from edgecompile.plan import Plan
from edgecompile.stages import run_stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx_ir as ir

    from edgecompile.data.feed import Feed

SAMPLES = 4
"""How many samples say whether cutting the residual stream off costs something."""


def plan_tensors(model: "ir.Model", plan: Plan, feeds: "Iterable[Feed]") -> Plan:
    """Return the plan with the saturation of the residual stream, and all ranges under it."""
    from edgecompile.quantize.limit_residuals import limit_residuals
    from edgecompile.quantize.observe_written import observe_written

    few = list(islice(feeds, SAMPLES))
    written = run_stage("lower/written", model, {}, None)
    limit = _choose_limit(model, observe_written(written, few), few)
    if limit:
        written = run_stage("lower/written", limit_residuals(model, limit), {}, None)
    return replace(plan, tensors=observe_written(written, feeds), saturation=limit)


def _choose_limit(
    model: "ir.Model",
    seen: dict[str, tuple[float, float]],
    feeds: "Sequence[Feed]",
) -> float:
    from edgecompile.evaluate import accuracy
    from edgecompile.facts import is_residual
    from edgecompile.quantize.limit_residuals import choose_limit, limit_residuals
    from edgecompile.session import answer, session
    from edgecompile.stages import lower_float

    sums = [n.outputs[0].name for n in model.graph if n.op_type == "Add" and is_residual(n)]
    ranges = [seen[str(name)] for name in sums if name in seen]
    if not ranges:
        return 0.0
    expected = answer(session(lower_float(model)), feeds)

    def loss(limit: float) -> float:
        given = answer(session(lower_float(limit_residuals(model, limit))), feeds)
        return 1 - accuracy.compare("cosine", given, expected, feeds).mean

    return choose_limit(max(max(-low, high) for low, high in ranges), loss)
