"""What can be true of a model besides what edgecompile knows: see edgecompile.facts."""

import onnx_ir as ir

COLUMNS_SPLIT = "edgecompile_esp.columns_split"
"""Metadata key that marks a graph whose Linears have columns of one range, where that is needed."""
WEIGHTS_ROUNDED = "edgecompile_esp.weights_rounded"
"""Likewise: the Linears' weights are int8."""


def no_clips(model: ir.Model) -> str | None:
    """No Clip is left."""
    for node in model.graph:
        if node.op_type == "Clip":
            return f"node '{node.name}' is a Clip"
    return None


def columns_are_split(model: ir.Model) -> str | None:
    """Every Linear has columns of one range, where the chip has one scale for all."""
    return None if COLUMNS_SPLIT in model.metadata_props else "their columns differ"


def weights_are_rounded(model: ir.Model) -> str | None:
    """Every Linear's weight is int8, its scales powers of two."""
    return None if WEIGHTS_ROUNDED in model.metadata_props else "they are float"
