"""Lowering for LiteRT: standard operators that each have one TFLite builtin, and int8 Linears."""

FORMS = {"attention": ("written-out",), "gelu": ("erf", "tanh"), "linear": ("matmul", "hybrid")}
"""What a target's file may ask for."""
