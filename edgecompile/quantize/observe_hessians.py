"""Run samples once more and keep E[x x^T] of what each Linear reads: GPTQ rounds weights by it."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.plan import Plan
from edgecompile.quantize.observe_ranges import observed_rows


def observe_hessians(model: ir.Model, plan: Plan, feeds: Iterable[Feed]) -> Plan:
    """Return the plan with the Hessian of x / smoothing, [C, C], for each activation.

    Memory: C^2 floats an activation, whatever the number of samples.
    """
    sums: dict[str, np.ndarray] = {}
    tokens: dict[str, int] = {}
    for name, rows in observed_rows(model, sorted(plan.activations), feeds):
        x = rows / plan.activations[name].smoothing
        product = x.T @ x
        sums[name] = product if name not in sums else np.add(sums[name], product, out=sums[name])
        tokens[name] = tokens.get(name, 0) + len(x)
    activations = {
        name: replace(activation, hessian=(sums[name] / tokens[name]).astype(np.float32))
        for name, activation in plan.activations.items()
    }
    return replace(plan, activations=activations)
