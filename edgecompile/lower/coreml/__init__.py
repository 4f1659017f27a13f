"""Lowering for Core ML: fixed shapes, attention written out, int8 weights, float activations."""

FORMS = {"attention": ("heads",), "gelu": ("erf", "tanh"), "linear": ("matmul",)}
"""What a target's file may ask for."""
