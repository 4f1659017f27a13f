"""As in the written-out form, whose tensors the plan states the ranges of."""

from edgecompile.lower.written.infer_shapes import infer_shapes

__all__ = ["infer_shapes"]
