"""Opsets: which one a graph needs, and how to declare an older one."""

from functools import cache
from typing import TYPE_CHECKING

import onnx_ir as ir

from edgecompile.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx.defs import OpSchema

UNKNOWN = 1_000_000
CANONICAL = 23
"""The canonical graph's opset: the first with a standard Attention."""


def ir_version_of(opset: int) -> int:
    """Return the IR version that was released with an opset."""
    from onnx import helper

    return int(helper.OP_SET_ID_VERSION_MAP["ai.onnx", opset])


def declare_opset(model: ir.Model, opset: int, who: str) -> ir.Model:
    """Return the model under an older opset; fail where `who` could not take a node."""
    model = model.clone()
    for node in model.graph:
        first = 0 if node.domain else first_opset(node)
        if first == UNKNOWN:
            msg = (
                f"node '{node.name}' ({node.op_type}) is no standard operator of opset {CANONICAL}"
            )
            raise UnsupportedError(msg)
        if first > opset:
            msg = (
                f"{who} takes opset {opset}, but node '{node.name}' ({node.op_type}) needs {first}"
            )
            raise UnsupportedError(msg)
    model.graph.opset_imports[""] = opset
    model.ir_version = ir_version_of(opset)
    return model


def first_opset(node: ir.Node) -> int:
    """Return the first opset whose operator takes a node's attributes and inputs as they are."""
    versions = [int(s.since_version) for s in _history().get(node.op_type, ()) if _takes(s, node)]
    return min(versions, default=UNKNOWN)


@cache
def _history() -> "Mapping[str, Sequence[OpSchema]]":
    from onnx import defs

    history: dict[str, list[OpSchema]] = {}
    for schema in defs.get_all_schemas_with_history():
        if not schema.domain:
            history.setdefault(schema.name, []).append(schema)
    return history


def _takes(schema: "OpSchema", node: ir.Node) -> bool:
    takes_inputs = int(schema.min_input) <= len(node.inputs) <= int(schema.max_input)
    return takes_inputs and set(node.attributes) <= set(schema.attributes)
