"""Let what works token by token read [S, C], as for Qualcomm's HTP: a Linear becomes one Gemm."""

from edgecompile.lower.qnn.flatten_tokens import flatten_tokens

__all__ = ["flatten_tokens"]
