"""Run samples once more and keep E[x x^T] of what each Linear reads: GPTQ rounds weights by it."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.graph import FloatArray
from edgecompile.plan import Plan
from edgecompile.quantize.observe_ranges import observed_rows

TOGETHER = 1024
"""Rows that are multiplied together."""


def observe_hessians(model: ir.Model, plan: Plan, feeds: Iterable[Feed]) -> Plan:
    """Return the plan with the Hessian of x / smoothing, [C, C], for each activation.

    Memory: C^2 floats and TOGETHER rows an activation, whatever the number of samples.
    """
    sums = {name: Products(a.smoothing) for name, a in plan.activations.items()}
    for name, rows in observed_rows(model, sorted(sums), feeds):
        sums[name].add(rows)
    activations = {
        name: replace(activation, hessian=sums[name].mean())
        for name, activation in plan.activations.items()
    }
    return replace(plan, activations=activations)


class Products:
    """The sum of x x^T over all rows, taken in many at once: one large product is faster."""

    def __init__(self, smoothing: FloatArray) -> None:
        """Start with none."""
        self.smoothing, self.rows = smoothing, 0
        self.total = np.zeros((len(smoothing), len(smoothing)), np.float32)
        self.waiting: list[FloatArray] = []

    def add(self, rows: FloatArray) -> None:
        """Take in more rows, [rows, C]."""
        self.waiting.append(rows / self.smoothing)
        if sum(map(len, self.waiting)) >= TOGETHER:
            self._take()

    def mean(self) -> FloatArray:
        """Return E[x x^T], [C, C]."""
        self._take()
        return self.total / np.float32(max(self.rows, 1))

    def _take(self) -> None:
        if self.waiting:
            x = np.concatenate(self.waiting)
            self.total += x.T @ x
            self.rows += len(x)
            self.waiting.clear()
