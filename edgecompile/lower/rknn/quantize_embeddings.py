"""Store embedding tables as int8, one scale a row, as for onnxruntime: the host looks them up."""

from edgecompile.lower.onnxruntime.quantize_embeddings import quantize_embeddings

__all__ = ["quantize_embeddings"]
