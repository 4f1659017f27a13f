"""Note the range of every tensor for esp-ppq, which then needs no texts to calibrate.

The graph stays float: esp-ppq rounds it. Scales are powers of two, one a tensor.
"""

import json

import onnx_ir as ir

from edgecompile.facts import INT8, linears_are_int8, nodes_are_placed
from edgecompile.passes import rewrite
from edgecompile.plan import Plan

RANGES = "edgecompile.ranges"
"""Metadata key: {tensor: [low, high]} in JSON."""


@rewrite(needs=[nodes_are_placed], gives=[linears_are_int8])
def state_ranges(model: ir.Model, plan: Plan) -> ir.Model:
    """Write the plan's ranges into the metadata."""
    model = model.clone()
    known = {str(v.name) for node in model.graph for v in node.outputs}
    known |= {str(v.name) for v in model.graph.inputs}
    ranges = {name: pair for name, pair in plan.tensors.items() if name in known}
    model.metadata_props[RANGES] = json.dumps(ranges, sort_keys=True)
    model.metadata_props[INT8] = "yes"
    return model
