"""How many of a dense model's units a narrower one still has, group by group."""

from typing import Any

import onnx_ir as ir

from edgecompile.graph import dim
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.group import Group


def compare_widths(dense: ir.Model, narrow: ir.Model) -> dict[str, dict[str, Any]]:
    """Return {group: {kind, units, kept}} of a canonical graph and one that was cut from it.

    Counted where units are read: a group of which no reader is left went with its layer. Empty if
    the two have nothing in common, as where a student came with names of its own.
    """
    found = find_groups(dense).found
    weights = narrow.graph.initializers
    if not any(name in weights for group in found for name in group.readers):
        return {}
    return {
        group.name: {"kind": group.kind, "units": group.units, "kept": _kept(narrow, group)}
        for group in found
    }


def _kept(narrow: ir.Model, group: Group) -> int:
    weights = narrow.graph.initializers
    rows = (dim(weights[name], 0) for name in group.readers if name in weights)
    return next(rows, 0) // group.block
