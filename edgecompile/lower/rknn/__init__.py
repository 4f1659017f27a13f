"""Lowering for Rockchip's NPUs: factors where the vendor's compiler cannot fold them away again."""

FORMS = {"attention": ("heads",), "gelu": ("erf",), "linear": ("gemm",)}
"""What a target's file may ask for: nothing else is measured yet."""
