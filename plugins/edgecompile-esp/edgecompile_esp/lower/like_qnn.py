"""Passes of Qualcomm's lowering that serve here as they are."""

from edgecompile.lower.qnn.apply_equalisation import apply_equalisation
from edgecompile.lower.qnn.expand_attention import expand_attention
from edgecompile.lower.qnn.expand_length import expand_length
from edgecompile.lower.qnn.fix_shapes import fix_shapes
from edgecompile.lower.qnn.flatten_tokens import flatten_tokens
from edgecompile.lower.qnn.set_opset import set_opset

__all__ = [
    "apply_equalisation",
    "expand_attention",
    "expand_length",
    "fix_shapes",
    "flatten_tokens",
    "set_opset",
]
