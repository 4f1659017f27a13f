"""Declare the opset that the target takes, after checking that it suffices."""

import onnx_ir as ir

from edgecompile.facts import no_transposes_cancel
from edgecompile.opset import declare_opset
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[no_transposes_cancel])
def set_opset(model: ir.Model, target: Target) -> ir.Model:
    """Set the opset and the IR version that goes with it."""
    return declare_opset(model, target.opset, f"target {target.name}")
