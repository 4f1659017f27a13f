"""What a vendor's compiler calls a target's chip: noted in a lowered model, read by the engine."""

import onnx_ir as ir

from edgecompile.facts import CHIP
from edgecompile.target import Target


def note_chip(model: ir.Model, target: Target) -> None:
    """Write the chip's "key=value" into a model's metadata."""
    model.metadata_props[CHIP] = " ".join(target.chip)


def chip_of(model: ir.Model) -> dict[str, str]:
    """Read them again."""
    return dict(part.split("=", 1) for part in model.metadata_props.get(CHIP, "").split())
