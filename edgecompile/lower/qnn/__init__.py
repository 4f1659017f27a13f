"""Lowering for Qualcomm's HTP: fixed shapes, a stream of tokens [S, C], every tensor rounded."""

FORMS = {
    "attention": ("heads",),
    "gelu": ("erf",),
    "linear": ("gemm",),
    "tables": ("npu", "host"),
}
"""What a target's file may ask for: nothing else is measured yet."""
