"""An artifact that was judged, on disk and back: its files, its plan, its answers, its scores."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgecompile.attempt import Attempt
from edgecompile.cache.keep_json import read_json, write_json
from edgecompile.cache.keep_plan import read_plan, write_plan
from edgecompile.evaluate.accuracy import Accuracy
from edgecompile.evaluate.emulated import Emulated
from edgecompile.make_artifact import Artifact
from edgecompile.rows_file import read_answers, write_answers
from edgecompile.step import Step
from edgecompile.target import Target

ANSWERS, FILE = "answers.npz", "file-"


def write_artifact(made: Artifact, folder: Path, kept: Path) -> None:
    """Write it to `kept`; its files lie in `folder`."""
    tried = made.tried
    for name in tried.names:
        shutil.copyfile(folder / name, kept / f"{FILE}{name}")
    write_plan(tried.plan, kept)
    write_answers(kept / ANSWERS, tried.answers)
    emulated = tried.emulated
    told = {
        "names": tried.names,
        "accuracy": asdict(tried.accuracy),
        "emulated": emulated if isinstance(emulated, str) else asdict(emulated),
        "profile": made.board.profile,
        "climbed": dict(made.climbed),
        "steps": [asdict(step) for step in made.steps],
    }
    write_json(told, kept)


def read_artifact(kept: Path, folder: Path, board: Target) -> Artifact:
    """Read it; its files are copied into `folder`."""
    told = read_json(kept)
    for name in told["names"]:
        shutil.copyfile(kept / f"{FILE}{name}", folder / name)
    tried = Attempt(
        read_plan(kept),
        told["names"],
        read_answers(kept / ANSWERS),
        Accuracy(**told["accuracy"]),
        _emulated(told["emulated"]),
    )
    steps = [Step(**row) for row in told["steps"]]
    return Artifact(replace(board, profile=told["profile"]), tried, told["climbed"], steps)


def _emulated(told: str | Mapping[str, Any]) -> Emulated | str:
    if isinstance(told, str):
        return told
    accuracies = {key: Accuracy(**told[key]) for key in ("accuracy", "here")}
    return Emulated(**accuracies, how=told["how"], on=told["on"])
