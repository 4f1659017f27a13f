"""Stage export: a model directory or .onnx file in, float graph out."""
