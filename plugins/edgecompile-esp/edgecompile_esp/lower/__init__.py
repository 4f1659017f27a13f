"""Lowering for ESP-DL: fixed shapes, a stream of tokens [S, C], tables looked up on the host.

All but two passes are those that edgecompile has for Qualcomm's NPU: a module that imports a pass
makes it one of this stage.
"""

FORMS = {"attention": ("heads",), "gelu": ("erf",), "linear": ("gemm",)}
"""What a target's file may ask for."""
