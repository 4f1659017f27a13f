"""Note the token counts that the artifact is written for, as for LiteRT."""

from edgecompile.lower.litert.set_lengths import set_lengths

__all__ = ["set_lengths"]
