"""Declare opset 20, which every current tool reads."""

import onnx_ir as ir

from edgecompile.facts import no_attention
from edgecompile.opset import declare_opset
from edgecompile.passes import rewrite

EXCHANGE = 20
"""The first opset with a standard Gelu."""


@rewrite(needs=[no_attention])
def set_opset(model: ir.Model) -> ir.Model:
    """Set the opset and the IR version that goes with it."""
    return declare_opset(model, EXCHANGE, "plain ONNX")
