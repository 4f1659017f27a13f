"""Store embedding tables as int8, one scale a row, as for onnxruntime: the host looks them up."""

import onnx_ir as ir

from edgecompile.facts import tables_are_split
from edgecompile.lower.onnxruntime import quantize_embeddings as onnxruntime
from edgecompile.passes import rewrite
from edgecompile.plan import Plan


@rewrite(gives=[tables_are_split])
def quantize_embeddings(model: ir.Model, plan: Plan) -> ir.Model:
    """Float tables -> int8 tables and scales."""
    stored: ir.Model = onnxruntime.quantize_embeddings.run(model, plan).clone()
    stored.metadata_props[tables_are_split.__name__] = "yes"
    return stored
