"""What a Core ML package or an ExecuTorch program holds: as its own toolchain reads it back."""

import json
from pathlib import Path
from typing import Any

PACKAGE, PROGRAM = "model.mlpackage", "model.pte"
ROUNDED = {
    "coreml": "int8 weight, float16 activation",
    "executorch": "int8 weight, dynamic int8 activation, float output",
}
FLOAT = {"coreml": "float16", "executorch": "float"}
"""The formats of Linears, by engine."""


def find_compiled(path: Path) -> Path | None:
    """Return the file that a path means, if it is of one of the two: a file, or a bundle."""
    for file in (path, path / "Manifest.json", path / PACKAGE / "Manifest.json", path / PROGRAM):
        package = file.name == "Manifest.json" and file.parent.suffix == ".mlpackage"
        if (package or file.suffix == ".pte") and file.is_file():
            return file
    return None


def inspect_compiled(file: Path) -> dict[str, Any]:
    """Return what it holds, as plain data; the toolchain is installed if it is not there."""
    return _inspect_package(file) if file.name == "Manifest.json" else _inspect_program(file)


def _inspect_package(file: Path) -> dict[str, Any]:
    from edgecompile.emit.coreml import describe

    found = describe(file)
    kept = [row["name"] for row in found["linears"]]
    tables = [
        {"name": name.removesuffix("_weight"), "shape": shape, "format": kind}
        for name, (shape, kind) in found["rounded"].items()
        if name not in kept
    ]
    parts = [path for path in file.parent.rglob("*") if path.is_file()]
    return {
        "file": str(file.parent),
        "kind": f"Core ML, specification {found['version']}",
        "size_bytes": sum(path.stat().st_size for path in parts),
        "bytes_by_format": dict(sorted(found["bytes"].items(), key=lambda row: -row[1])),
        "operators": found["operators"],
        "embeddings": tables,
        "linears": _linears(found["linears"], found["metadata"], "coreml"),
    }


def _inspect_program(file: Path) -> dict[str, Any]:
    from edgecompile.emit.executorch import describe

    found = describe(file)
    weights = json.loads(found["metadata"]["edgecompile.weights"])
    calls = {"XNNPACK": found["calls"]} if found["calls"] else {}
    return {
        "file": str(file),
        "kind": "ExecuTorch",
        "size_bytes": file.stat().st_size,
        "bytes_by_format": weights["bytes"],
        "operators": calls | found["kernels"],
        "embeddings": weights["tables"],
        "linears": _linears(weights["linears"], found["metadata"], "executorch"),
    }


def _linears(rows: Any, metadata: Any, engine: str) -> list[dict[str, Any]]:
    """Return a row for each Linear, its format and, of one in float, why."""
    reasons = json.loads(metadata.get("kept_float", "{}"))
    by_name = {name.replace(".", "_"): why for name, why in reasons.items()} | reasons
    found = []
    for row in rows:
        name = str(row["name"]).removesuffix("_rows").removesuffix("_weight")
        kind = ROUNDED[engine] if row["rounded"] else FLOAT[engine]
        why = "" if row["rounded"] else by_name.get(name, "")
        found.append({"name": name, "shape": row["shape"], "format": kind, "why": why})
    return found
