"""Put the plan's equalising factors into the float graph, as for onnxruntime."""

from edgecompile.lower.onnxruntime.apply_equalisation import apply_equalisation

__all__ = ["apply_equalisation"]
