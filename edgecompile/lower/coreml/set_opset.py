"""Declare the target's opset, and note the deployment target, as for Qualcomm's HTP."""

from edgecompile.lower.qnn.set_opset import set_opset

__all__ = ["set_opset"]
