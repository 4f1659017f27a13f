"""Declare the target's opset, and note the chip: the compiler must be told."""

import onnx_ir as ir

from edgecompile.chip import note_chip
from edgecompile.facts import linears_are_int8
from edgecompile.opset import declare_opset
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[linears_are_int8])
def set_opset(model: ir.Model, target: Target) -> ir.Model:
    """Set the opset and the IR version that goes with it, and write the chip into the metadata."""
    model = declare_opset(model, target.opset, f"target {target.name}")
    note_chip(model, target)
    return model
