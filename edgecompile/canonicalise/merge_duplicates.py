"""Compute the same thing once.

a = f(x); b = f(x)   ->   a, for both
"""

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, DeduplicateInitializersPass

from edgecompile.graph import sweep
from edgecompile.passes import rewrite


@rewrite()
def merge_duplicates(model: ir.Model) -> ir.Model:
    """Equal nodes and equal small initializers -> one."""
    model = model.clone()
    DeduplicateInitializersPass(size_limit=16)(model)  # not biases: they name their layers
    CommonSubexpressionEliminationPass()(model)
    return sweep(model)
