"""Let each Gelu say which formula it is, as for OpenVINO: LiteRT has both as one operator."""

from edgecompile.lower.openvino.convert_gelu import convert_gelu

__all__ = ["convert_gelu"]
