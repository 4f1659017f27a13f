"""How much of the model's output is lost when one tensor's Linears alone are quantized."""

from collections.abc import Callable, Iterable

from edgecompile.evaluate.accuracy import Accuracy
from edgecompile.plan import Plan

ENOUGH = 0.01
"""A tensor whose int8 loses less than this share of all losses needs no dynamic rung tried."""


def measure_sensitivity(
    tensors: Iterable[str],
    rungs: Iterable[str],
    only: Callable[[str, str], Plan],
    judge: Callable[[Plan], Accuracy],
) -> dict[str, dict[str, float]]:
    """Return 1 - R^2 of the output by tensor and rung.

    `only` gives the plan that quantizes one tensor alone, `judge` runs a plan against float.
    """
    lost = {name: {"int8": 1 - judge(only(name, "int8")).signal} for name in tensors}
    whole = sum(row["int8"] for row in lost.values())
    for name, row in lost.items():
        if row["int8"] >= ENOUGH * whole:
            row |= {rung: 1 - judge(only(name, rung)).signal for rung in rungs}
    return dict(sorted(lost.items(), key=lambda item: -item[1]["int8"]))
