"""Declare the target's opset, and note what the compiler must be told: chip, profile, samples."""

import onnx_ir as ir

from edgecompile.chip import note_chip
from edgecompile.facts import PROFILE, SAMPLES, nodes_are_placed
from edgecompile.opset import declare_opset
from edgecompile.passes import rewrite
from edgecompile.plan import Plan
from edgecompile.target import Target


@rewrite(needs=[nodes_are_placed])
def set_opset(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """Set the opset and the IR version that goes with it; the rest goes into the metadata."""
    model = declare_opset(model, target.opset, f"target {target.name}")
    note_chip(model, target)
    model.metadata_props[PROFILE] = target.profile if plan.samples else "float16"
    model.meta[SAMPLES] = plan.samples
    return model
