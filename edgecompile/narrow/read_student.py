"""The student that `edgecompile distill` left for a recipe -> the graph that a build takes."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import files
from edgecompile.distill.claim_folder import FREE as FREE_TO_RESUME
from edgecompile.distill.claim_folder import RECORD, STUDENT
from edgecompile.errors import ModelError
from edgecompile.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.export.read_model import Source

LARGEST_RECORD_BYTES = 1 << 22
TABLES = ("sha256", "prune", "distill", "before", "after", "files")
UNTOLD = ("sha256", "files")
"""The tables of student.json, and those of them that no manifest needs."""
FREE = ("vocabulary", "vocabulary_column", "vocabulary_min_count")
"""Keys of [prune] that a build alone uses: they make no difference to a student."""


def read_student(source: "Source", recipe: Recipe) -> "tuple[ir.Model, dict[str, Any]]":
    """Return the trained student of a recipe, and what the manifest says of it.

    Raises ModelError where there is none, or where it is another model's, another recipe's, or
    was changed since.
    """
    from edgecompile.export import onnx_file

    folder = recipe.path(recipe.distill.student)
    record = _read_record(folder / RECORD)
    again = "run `edgecompile distill` with this recipe first (--restart begins anew)"
    of_model = {str(p.relative_to(source.folder)): files.sha256(p) for p in source.files}
    if record["sha256"] != of_model:
        msg = f"{folder}: is the student of another model than {source.path}; {again}"
        raise ModelError(msg)
    made = _made_of(record["prune"], record["distill"])
    for key, asked in _made_of(asdict(recipe.prune), asdict(recipe.distill)).items():
        if made.get(key) != asked:
            msg = f"{folder}: {key} was {made.get(key)}, the recipe says {asked}; {again}"
            raise ModelError(msg)
    for name, digest in record["files"].items():
        path = folder / Path(name).name
        if not path.is_file() or files.sha256(path) != digest:
            msg = f"{path}: is not the file that was trained; {again}"
            raise ModelError(msg)
    told = {key: record[key] for key in (*TABLES, "metric", "steps") if key not in UNTOLD}
    told["groups"] = record.get("groups", {})
    return onnx_file.read(folder / STUDENT), told


def _made_of(prune: Mapping[str, Any], distill: Mapping[str, Any]) -> dict[str, str]:
    """Return the keys of a recipe that make a student what it is, each value as JSON."""
    found = {f"[prune] {key}": value for key, value in prune.items() if key not in FREE}
    found |= {f"[distill] {k}": v for k, v in distill.items() if k not in FREE_TO_RESUME}
    batch, times = distill.get("batch"), distill.get("accumulate")
    if isinstance(batch, int) and isinstance(times, int):
        found["[distill] batch x accumulate"] = batch * times
    return {key: json.dumps(value) for key, value in found.items()}


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        msg = f"{path}: no student was trained; run `edgecompile distill` with this recipe first"
        raise ModelError(msg)
    try:
        text = path.read_bytes() if path.stat().st_size <= LARGEST_RECORD_BYTES else b""
        record = dict(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        record = {}
    tables = all(isinstance(record.get(key), dict) for key in TABLES)
    if not tables or not {"metric", "steps"} <= record.keys() or STUDENT not in record["files"]:
        msg = f"{path}: is not what `edgecompile distill` writes; remove the folder, run it again"
        raise ModelError(msg)
    return record
