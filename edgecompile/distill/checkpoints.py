"""Checkpoints of a training: whole or not there, whatever moment the process dies in.

A checkpoint is a folder named after its step: `state.safetensors` (tensors) and `state.json`. It is
written under another name, flushed to the disk, and renamed. The last two are kept.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.errors import OutputError

if TYPE_CHECKING:
    from torch import Tensor

KEPT = 2
TENSORS, STATE = "state.safetensors", "state.json"
NAME = re.compile(r"\d{8}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The step that is done, tensors by name, and the rest as JSON."""

    step: int
    tensors: "Mapping[str, Tensor]"
    state: Mapping[str, Any]


def save(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and drop all but the last two."""
    from safetensors.torch import save_file

    final = folder / f"{checkpoint.step:08}"
    scratch = folder / f".{final.name}"
    if not final.exists():  # what stands there was made by the same steps
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        save_file(dict(checkpoint.tensors), scratch / TENSORS)
        text = json.dumps({"step": checkpoint.step, **checkpoint.state}, indent=1)
        (scratch / STATE).write_text(text, encoding="utf-8")
        for path in (scratch / TENSORS, scratch / STATE, scratch):
            flush(path)
        scratch.rename(final)
        flush(folder)
    for old in _all(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def load(folder: Path) -> Checkpoint | None:
    """Return the last checkpoint, None if there is none."""
    from safetensors.torch import load_file

    for name in folder.glob(".????????"):  # a write that was cut off
        shutil.rmtree(name, ignore_errors=True)
    found = _all(folder)
    if not found:
        return None
    last = found[-1]
    try:
        state = json.loads((last / STATE).read_text(encoding="utf-8"))
        return Checkpoint(int(state.pop("step")), load_file(last / TENSORS), state)
    except Exception as error:  # the disk's, JSON's, safetensors' own
        msg = f"{last}: not a readable checkpoint ({error}); remove it, or give --restart"
        raise OutputError(msg) from error


def _all(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if NAME.fullmatch(p.name) and p.is_dir())


def flush(path: Path) -> None:
    """Make the disk hold what was written to a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    scratch = path.with_name(f".{path.name}")
    scratch.write_text(text, encoding="utf-8")
    flush(scratch)
    scratch.replace(path)
