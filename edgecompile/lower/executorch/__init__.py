"""Lowering for ExecuTorch's XNNPACK: open length, attention written out, int8 weights."""

FORMS = {"attention": ("heads",), "gelu": ("erf", "tanh"), "linear": ("matmul",)}
"""What a target's file may ask for."""
