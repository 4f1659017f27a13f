"""Write attention over heads of [H, S, D], as for Qualcomm's HTP: it becomes one exSDPAttention."""

from edgecompile.lower.qnn.expand_attention import expand_attention

__all__ = ["expand_attention"]
