"""Prune on the way: a student that is trained loses its units little by little, not all at once.

    removed(t) = wanted (1 - (1 - t / RAMP)^3)     t: the share of steps done

(Zhu and Gupta 2017, equation 1): fast while much can be spared, slow at the end, and the last part
of the training is for what is left. Each time, the student is repaired towards its own answers.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from edgecompile.narrow.prune_units import prune_units
from edgecompile.parts import Part
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.spend_ratios import KINDS
from edgecompile.recipe import PruneTable
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.distill.job import Narrow

RAMP = 0.6
"""The share of the steps after which nothing more is removed."""
SAMPLES = 256
"""To repair on each time: the training goes on, which is the better repair."""


def narrow_gradually(
    dense: "ir.Model", data: "Dataset", wishes: PruneTable, trace: Trace
) -> "Narrow":
    """Return what makes a student narrower as the training goes on (see distill/job.py)."""
    whole = _units(dense)

    def narrow(student: "ir.Model", done: float) -> "ir.Model | None":
        left = _units(student)
        share = removed_at(done)
        more: dict[str, float] = {}
        for kind, key in KINDS.items():
            kept = round(whole[kind] * (1 - getattr(wishes, key) * share))
            more[key] = max(1 - kept / left[kind], 0.0) if left[kind] else 0.0
        table = replace(wishes, ffn=more["ffn"], heads=more["heads"], layers=0)
        if not table.cuts_units:
            return None
        told = ", ".join(f"{value:.1%} of {key}" for key, value in more.items() if value)
        trace.say("prune", f"{told} more")
        own = data if data.repair is None else replace(data, repair=data.repair.first(SAMPLES))
        return prune_units(student, Part("", student), own, table, Trace()).model

    return narrow


def removed_at(done: float) -> float:
    """Return which share of what is to go is gone when a share of the steps is done."""
    return float(1 - (1 - min(done / RAMP, 1.0)) ** 3)


def _units(model: "ir.Model") -> dict[str, int]:
    found = find_groups(model).found
    return {kind: sum(g.units for g in found if g.kind == kind) for kind in KINDS}
