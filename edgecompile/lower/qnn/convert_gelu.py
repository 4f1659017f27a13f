"""Write Gelu as onnxruntime's own operator: its QNN provider takes that one whole."""

import onnx_ir as ir

from edgecompile.facts import no_standard_gelu, tokens_are_flat
from edgecompile.lower.onnxruntime import convert_gelu as onnxruntime
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[tokens_are_flat], gives=[no_standard_gelu])
def convert_gelu(model: ir.Model, target: Target) -> ir.Model:
    """Gelu -> com.microsoft.Gelu, after shapes are inferred: inference does not know it."""
    converted: ir.Model = onnxruntime.convert_gelu.run(model, target)
    return converted
