"""Lowering for tflite-runtime: LiteRT's. What it does wrong, its engine leaves out."""

from edgecompile.lower.litert import FORMS

__all__ = ["FORMS"]
