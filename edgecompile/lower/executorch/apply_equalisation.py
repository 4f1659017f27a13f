"""Put the plan's equalising factors into the float graph, as for onnxruntime: rows are rounded.

    y = Linear(x, W)   ->   y = Linear(Mul(x, 1 / s), s W)

Behind an attention they cost nothing.
"""

from edgecompile.lower.onnxruntime.apply_equalisation import apply_equalisation

__all__ = ["apply_equalisation"]
