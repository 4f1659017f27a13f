"""Write attention as matrix products over heads, as for Core ML."""

from edgecompile.lower.coreml.expand_attention import expand_attention

__all__ = ["expand_attention"]
