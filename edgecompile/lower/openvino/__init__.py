"""Lowering for OpenVINO's CPU plugin: standard operators with QuantizeLinear and its inverse."""

FORMS = {
    "attention": ("operator", "channels-first"),
    "gelu": ("erf", "tanh"),
    "linear": ("matmul", "convolution"),
}
"""What a target's file may ask for."""
