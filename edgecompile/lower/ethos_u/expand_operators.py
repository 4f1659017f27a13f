"""As in the written-out form, whose tensors the plan states the ranges of."""

from edgecompile.lower.written.expand_operators import expand_operators

__all__ = ["expand_operators"]
