"""What a bundle says of the compiled encoder: figures for the profile, a table for the manifest."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgecompile.device.run_parts import ABOUT
from edgecompile.rockchip.read_log import Operator, Report, products
from edgecompile.target import Target

COMPILER = "rknn-toolkit2 2.5.0"


def describe(report: Report) -> dict[str, Any]:
    """Return what encoder.json says of the compiled file."""
    every = report.operators
    macs = {"npu": 0, "all": 0}
    for operator in every:
        macs["all"] += products(operator)
        macs["npu"] += products(operator) if operator.place == "NPU" else 0
    return {
        "compiler": COMPILER,
        "operators": dict(sorted(Counter(f"{o.kind} {o.format} {o.place}" for o in every).items())),
        "on_cpu": [{"operator": o.kind, "name": o.name, "why": _reason(o)} for o in report.on_cpu],
        "explained": sorted(set(report.explained)),
        "share": {
            "ops": 1 - len(report.on_cpu) / len(every),
            "macs": macs["npu"] / macs["all"] if macs["all"] else 1.0,
        },
        "dram_bytes": report.internal_bytes + report.weight_bytes,
    }


def _reason(operator: Operator) -> str:
    return f"{COMPILER} leaves '{operator.name}' ({operator.kind}) to the CPU"


def finish_bundle(
    names: Sequence[str], board: Target, folder: Path, say: Callable[[str, str], None]
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Return all files, rows for the profile, a table for the manifest."""
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    found = about["compiled"]
    for row in found["on_cpu"]:
        say("warning", f"{board.name}: {row['why']}")
    counted = f"the table of operators that {COMPILER} prints of the compiled file"
    sized = "size of what goes on the device: the host's parts and the compiled encoder"
    device = [name for name in names if name.endswith((".onnx", ".rknn"))]
    values = [
        ("npu_share_ops", round(found["share"]["ops"], 6), "share", "measured", counted),
        ("npu_share_macs", round(found["share"]["macs"], 6), "share", "measured", counted),
        ("dram_bytes", found["dram_bytes"], "bytes", "modelled", COMPILER),
        ("size", sum((folder / n).stat().st_size for n in device), "bytes", "measured", sized),
    ]
    rows = [
        {"name": name, "value": value, "unit": unit, "kind": kind, "how": how, "model": "artifact"}
        for name, value, unit, kind, how in values
    ]
    table = {"chip": list(board.chip), "profile": about["profile"], **found}
    return list(names), rows, table
