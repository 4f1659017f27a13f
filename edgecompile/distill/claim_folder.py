"""The folder that a training writes: made, or checked to be of this very training."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompile.errors import DistillError

STUDENT, RECORD, PLOT, START, STARTED = (
    "student.onnx", "student.json", "loss.svg", "start.onnx", "started.json"
)  # fmt: skip
CHECKPOINTS = "checkpoints"
FREE = ("student", "checkpoint_every", "batch", "accumulate", "parallel", "compress")
"""Keys of [distill] that do not change what is trained: a resumed training may have other ones."""
MADE = (STUDENT, f"{STUDENT}.data", RECORD, PLOT, "log.jsonl", START, f"{START}.data", STARTED)


def claim_folder(folder: Path, identity: Mapping[str, Any], *, restart: bool) -> None:
    """Make the folder, or check that what lies there is of this very training."""
    started = folder / STARTED
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = {n for n in names if not n.startswith(".")} - {*MADE, CHECKPOINTS}
    if folder.is_file() or (foreign and STARTED not in names):
        msg = f"{folder}: is there already and holds no student; choose another [distill] student"
        raise DistillError(msg)
    if restart:  # the checkpoints first: they must never outlive what says whose they are
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
        for name in MADE:
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    if started.is_file():
        before = _read(started)
        keys = dict.fromkeys([*before, *identity])
        changed = [k for k in keys if before.get(k) != _plain(identity.get(k))]
        if changed:
            was, now = (table.get(changed[0]) for table in (before, identity))
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            msg = (
                f"{folder}: is of another training: {changed[0]} was {was}, is {now}{more};"
                " --restart begins anew, or choose another [distill] student"
            )
            raise DistillError(msg)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        msg = f"{path}: not readable ({error}); --restart begins anew"
        raise DistillError(msg) from error


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
