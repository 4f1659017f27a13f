"""Lowering to plain ONNX, the form in which other tools take a float model."""
