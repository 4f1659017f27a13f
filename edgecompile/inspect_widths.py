"""How wide each layer of a model is, and how wide it was: from what was written beside it.

manifest.json, student.json and edgecompile.json hold {group: {kind, units, kept}}; without them,
a canonical graph tells what it has.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import files
from edgecompile.distill.claim_folder import RECORD
from edgecompile.narrow.read_student import LARGEST_RECORD_BYTES

if TYPE_CHECKING:
    import onnx_ir as ir

KINDS = ("heads", "channels")


def inspect_widths(folder: Path, model: "ir.Model") -> list[dict[str, Any]]:
    """Return the widths of each layer of a graph that lies in `folder`."""
    manifest = _read(folder / files.MANIFEST).get("pruning")
    records = (manifest, _read(folder / RECORD), _read(folder / files.NOTE))
    for record in records:
        if isinstance(record, dict) and isinstance(record.get("groups"), dict):
            groups = {str(k): v for k, v in record["groups"].items() if _is_group(v)}
            if groups:
                return widths_of(groups)
    return widths_of(_groups_of(model))


def _read(path: Path) -> dict[str, Any]:
    """Return a record; none for a file that is missing or is something else."""
    try:
        if path.stat().st_size > LARGEST_RECORD_BYTES:
            return {}
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _is_group(value: object) -> bool:
    numbers = [value.get(key) for key in ("units", "kept")] if isinstance(value, dict) else [None]
    sound = all(isinstance(n, int) and 0 <= n < 1 << 31 for n in numbers)
    return sound and isinstance(value, dict) and value.get("kind") in KINDS


def _groups_of(model: "ir.Model") -> dict[str, Any]:
    """Return the groups of a canonical graph; none of any other."""
    from edgecompile.prune.find_groups import find_groups

    if not any(node.op_type == "Attention" and not node.domain for node in model.graph):
        return {}
    return {
        group.name: {"kind": group.kind, "units": group.units, "kept": group.units}
        for group in find_groups(model).found
    }


def widths_of(groups: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row a layer: its name; for "heads" and "channels", a list of {name, units, kept}."""
    rows: dict[str, dict[str, Any]] = {}
    for name, group in groups.items():
        layer = _layer(name)
        row = rows.setdefault(layer, {"layer": layer, **{kind: [] for kind in KINDS}})
        row[group["kind"]].append({"name": name, "units": group["units"], "kept": group["kept"]})
    return list(rows.values())


def _layer(name: str) -> str:
    """Return a name as far as the first number in it: encoder.layer.0.attention -> ...layer.0."""
    found = re.match(r".*?[./]\d+(?=[./])", name)
    return found[0] if found else name
