"""Lowering for onnxruntime's CPU kernels."""

FORMS = {"attention": ("packed", "operator"), "gelu": ("erf", "tanh"), "linear": ("matmul",)}
"""What a target's file may ask for."""
