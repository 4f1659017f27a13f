"""The student that `edgecompile distill` left for a recipe -> the graph that a build takes."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import files
from edgecompile.errors import ModelError
from edgecompile.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.export.read_model import Source

STUDENT, RECORD = "student.onnx", "student.json"
LARGEST_RECORD_BYTES = 1 << 22
TABLES = ("sha256", "prune", "distill", "before", "after", "files")
UNTOLD = ("sha256", "files")
"""The tables of student.json, and those of them that no manifest needs."""
FREE = {"vocabulary", "vocabulary_column", "vocabulary_min_count", "student"}
"""What a later build alone uses, or where the student lies: it made no difference to it."""


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
    for name, wanted in (("prune", asdict(recipe.prune)), ("distill", asdict(recipe.distill))):
        made = record[name]
        for key in wanted.keys() - FREE:
            was, asked = (json.dumps(table.get(key)) for table in (made, wanted))
            if was != asked:
                msg = f"{folder}: [{name}] {key} was {was}, the recipe says {asked}; {again}"
                raise ModelError(msg)
    for name, digest in record["files"].items():
        path = folder / Path(name).name
        if not path.is_file() or files.sha256(path) != digest:
            msg = f"{path}: is not the file that was trained; {again}"
            raise ModelError(msg)
    told = {key: record[key] for key in (*TABLES, "metric", "steps") if key not in UNTOLD}
    told["groups"] = record.get("groups", {})
    return onnx_file.read(folder / STUDENT), told


def _read_record(path: Path) -> dict[str, Any]:
    if not path.is_file():
        msg = f"{path}: no student was trained; run `edgecompile distill` with this recipe first"
        raise ModelError(msg)
    try:
        text = path.read_bytes() if path.stat().st_size <= LARGEST_RECORD_BYTES else b""
        record = dict(json.loads(text))
    except (ValueError, TypeError):
        record = {}
    if not {"metric", "steps"} <= record.keys() or not all(
        isinstance(record.get(key), dict) for key in TABLES
    ):
        msg = f"{path}: is not what `edgecompile distill` writes; remove the folder, run it again"
        raise ModelError(msg)
    return record
