"""Declare the opset that the target takes, after checking that it suffices."""

import onnx_ir as ir

from edgecompile.facts import factors_are_split
from edgecompile.opset import declare_opset
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[factors_are_split])
def set_opset(model: ir.Model, target: Target) -> ir.Model:
    """Set the opset and the IR version that goes with it."""
    return declare_opset(model, target.opset, f"target {target.name}")
