"""Store embedding tables as int8, one scale a row, as for onnxruntime, where the host has them."""

import onnx_ir as ir

from edgecompile.lower.onnxruntime import quantize_embeddings as on_cpu
from edgecompile.lower.qnn.place_tables import HOST
from edgecompile.passes import rewrite
from edgecompile.plan import Plan
from edgecompile.target import Target


@rewrite()
def quantize_embeddings(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """Float tables -> int8 tables and scales; on the NPU, split_tables makes them ready."""
    hosted = target.forms.tables == HOST
    found: ir.Model = on_cpu.quantize_embeddings.run(model, plan) if hosted else model
    return found
