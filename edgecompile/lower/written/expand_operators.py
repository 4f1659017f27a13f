"""Write LayerNormalization out, as for LiteRT."""

from edgecompile.lower.litert.expand_operators import expand_operators

__all__ = ["expand_operators"]
