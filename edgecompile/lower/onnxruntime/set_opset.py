"""Declare the newest opset that the target takes, after checking that it suffices."""

import onnx_ir as ir

from edgecompile.facts import attention_runs, no_standard_gelu, residuals_are_sums
from edgecompile.opset import declare_opset
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[attention_runs, no_standard_gelu, residuals_are_sums])
def set_opset(model: ir.Model, target: Target) -> ir.Model:
    """Set the opset and the IR version that goes with it."""
    return declare_opset(model, target.opset, f"target {target.name}")
