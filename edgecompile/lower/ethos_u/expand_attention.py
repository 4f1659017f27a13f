"""As in the written-out form, whose tensors the plan states the ranges of."""

from edgecompile.lower.written.expand_attention import expand_attention

__all__ = ["expand_attention"]
