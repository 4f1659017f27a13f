"""Lowering for Ethos-U: the encoder in integers alone, tables before it and pooling behind it."""

FORMS = {
    "attention": ("written-out",),
    "gelu": ("erf", "tanh"),
    "channels": ("elementwise", "convolution"),
}
"""What a target's file may ask for."""
