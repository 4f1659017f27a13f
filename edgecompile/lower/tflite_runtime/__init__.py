"""Lowering for tflite-runtime: LiteRT's, without hybrid Linears, which it computes wrongly."""

from edgecompile.lower import litert

FORMS = {**litert.FORMS, "linear": ("matmul",)}
"""What a target's file may ask for."""
