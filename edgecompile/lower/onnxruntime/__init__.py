"""Lowering for onnxruntime's CPU kernels."""
