"""Run samples through an engine's own float form and keep the range of every tensor.

For engines that round every tensor. Feeds fill the graph's fixed shapes: what pads them is a copy
of what is there, so no row has to be left out. Minimum and maximum: percentiles cost MiniLM 0.1.
"""

from collections.abc import Iterable
from dataclasses import replace

import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.facts import ROLE
from edgecompile.graph import constant, present
from edgecompile.plan import Plan
from edgecompile.session import run, session

LOWEST_BIAS = -50.0
"""What a padded token's bias is cut to: e^-50 of a weight is nothing, and -10,000 would take all
steps of a range."""
MARGIN = 8.0
"""How far below the lowest real score a masked one is kept: it then weighs e^-8 at most."""

Range = tuple[float, float]


def observe_tensors(model: ir.Model, plan: Plan, feeds: Iterable[Feed]) -> Plan:
    """Return the plan with the ranges of all tensors of a lowered float graph."""
    names = [str(value.name) for node in model.graph for value in node.outputs]
    given = [str(v.name) for v in model.graph.inputs if v.dtype == ir.DataType.FLOAT]
    opened = session(model, outputs=names)
    ranges: dict[str, Range] = {}
    for number, feed in enumerate(feeds, 1):
        arrays = dict(zip(names, run(opened, names, feed, number), strict=True))
        for name, array in (*arrays.items(), *((name, feed[name]) for name in given)):
            low, high = ranges.get(name, (0.0, 0.0))
            ranges[name] = min(low, float(array.min())), max(high, float(array.max()))
    for node in model.graph:
        table = constant(node.inputs[0]) if node.op_type == "Gather" else None
        if table is not None:  # other texts look up other rows
            ranges[str(node.outputs[0].name)] = float(table.min()), float(table.max())
        if node.metadata_props.get(ROLE) == "masked":
            scores, bias = (present(value) for value in node.inputs)
            low, high = ranges[str(scores.name)]
            ranges[str(node.outputs[0].name)] = low - MARGIN, high
            _cut(bias, ranges)
    return replace(plan, tensors=ranges)


def _cut(bias: ir.Value, ranges: dict[str, Range]) -> None:
    """Saturate a bias, and all that it is computed from, at LOWEST_BIAS."""
    waiting = [bias]
    while waiting:
        value = waiting.pop()
        if str(value.name) in ranges:
            low, high = ranges[str(value.name)]
            ranges[str(value.name)] = (
                max(min(low, -1.0 if value is bias else low), LOWEST_BIAS),
                high,
            )
        node = value.producer()
        waiting += [v for v in node.inputs if v is not None] if node is not None else []
