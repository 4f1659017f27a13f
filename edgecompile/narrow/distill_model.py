"""`edgecompile distill`: the dense model and its narrower student -> a trained student.

student/  student.onnx   the float canonical graph with trained weights
student.json   what it came from, and how near it is
loss.svg, log.jsonl
start.onnx     the student before training; started.json is what it was made of
checkpoints/   the last two
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import __version__, files
from edgecompile.distill.claim_folder import (
    CHECKPOINTS,
    FREE,
    PLOT,
    RECORD,
    START,
    STARTED,
    STUDENT,
    claim_folder,
)
from edgecompile.errors import DistillError, RecipeError
from edgecompile.narrow.distill_inputs import Opened, make_student, open_inputs, planner, read_split
from edgecompile.narrow.read_student import FREE as FREE_TO_BUILD
from edgecompile.plan import FLOAT
from edgecompile.recipe import Recipe
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.distill.batches import Samples
    from edgecompile.distill.job import Job, Narrow, Tell, Trained
    from edgecompile.distill.workers import Workers

NEEDED = ("torch", "accelerate", "matplotlib")
INSTALL = "pip install 'edgecompile[distill]'"


@dataclass(frozen=True, slots=True)
class Distilled:
    """The folder that was written, and what its student.json says."""

    folder: Path
    record: Mapping[str, Any]


def distill(
    recipe: Recipe,
    trace: Trace,
    tell: "Tell",
    *,
    restart: bool = False,
    narrow: "Narrow | None" = None,
) -> Distilled:
    """Train the recipe's student, or go on where the last run of this recipe was ended.

    `narrow` is asked every `narrow_every` steps for a narrower student (see distill/job.py); by
    default, what [prune] says is removed little by little.
    """
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            msg = f"distill trains with torch, and '{name}' is missing: {INSTALL}"
            raise DistillError(msg)
    from edgecompile.distill.stops import watch_signals
    from edgecompile.distill.train import Training
    from edgecompile.distill.workers import one_line, open_workers
    from edgecompile.narrow.narrow_gradually import narrow_gradually

    workers = open_workers(recipe.distill)
    if not workers.first:
        trace, tell = Trace(), lambda _moment: None
    folder = recipe.path(recipe.distill.student)
    with one_line(workers, str(folder / CHECKPOINTS)):
        opened = open_inputs(recipe, trace)
        identity = _identity(opened, recipe, workers)
        if workers.first:
            claim_folder(folder, identity, restart=restart)
        rest, held = read_split(opened, recipe, workers)
        if workers.first:
            _start(folder, identity, opened, recipe, trace)
        workers.accelerator.wait_for_everyone()
        if (folder / RECORD).is_file():
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            trace.say("distill", f"{folder}: done already; --restart begins anew")
            return Distilled(folder, record)
        job = _job(folder, opened, recipe, rest, held)
        if narrow is None and recipe.distill.narrow_every:
            narrow = narrow_gradually(opened.teacher, opened.dataset, recipe.prune, trace)
        job = job if narrow is None else replace(job, narrow=narrow)
        trace.say("distill", f"{len(job.samples.feeds):,} samples, {recipe.distill.steps} steps")
        with watch_signals() as stop:
            training = Training(job, workers, stop, tell)
            try:
                trained = training.run()
            except RuntimeError:
                training.save_after_loss()
                raise
        record = _record(identity, trained, recipe, opened)
        if workers.first:
            _write(folder, trained, record)
        workers.accelerator.wait_for_everyone()
    return Distilled(folder, record)


def _identity(opened: Opened, recipe: Recipe, workers: "Workers") -> dict[str, Any]:
    """Return what makes a training the same one, key by key."""
    from edgecompile.data.provenance import digest

    table = {f"[distill] {k}": v for k, v in asdict(recipe.distill).items() if k not in FREE}
    a_step = recipe.distill.batch * recipe.distill.accumulate * workers.count
    table |= {"[distill] samples a step (batch x accumulate x processes)": a_step}
    prune = {k: v for k, v in asdict(recipe.prune).items() if k not in FREE_TO_BUILD}
    table |= {f"[prune] {key}": value for key, value in prune.items()}
    labels = recipe.path(recipe.distill.labels)
    if recipe.distill.labels and labels.is_file():
        table["the file [distill] labels"] = files.sha256(labels)
    if recipe.distill.start:
        table["the file [distill] start"] = files.sha256(recipe.path(recipe.distill.start))
    if recipe.distill.quantize_aware:
        table |= {f"[quantize] {key}": value for key, value in asdict(recipe.quantize).items()}
    path, folder = opened.source.path, opened.source.folder
    hashes = {f"the model's {p.relative_to(folder)}": files.sha256(p) for p in opened.source.files}
    of_data = digest(opened.data, recipe.distill.samples or 1 << 31)
    hashes |= {f"[distill] data, its {key}": value for key, value in of_data.items()}
    hashes |= {f"the data of {use}": value for use, value in opened.dataset.hashes.items()}
    table["[shapes] sequence"] = list(recipe.shapes.sequence)
    return {"model": path.name, **hashes, **table}


def _start(
    folder: Path, identity: Mapping[str, Any], opened: Opened, recipe: Recipe, trace: Trace
) -> None:
    """Write the student that training begins with, unless an earlier run has."""
    from edgecompile.distill.checkpoints import write_whole
    from edgecompile.distill.pairs import find_pairs
    from edgecompile.distill.save_graph import save_graph

    if (folder / STARTED).is_file():
        return
    student = make_student(opened, recipe, trace)
    find_pairs(opened.teacher, student)
    later = recipe.distill.quantize_aware or recipe.distill.narrow_every
    if not later and _digest(student) == _digest(opened.teacher):
        msg = "nothing was removed: the student is the dense model; say in [prune] what to remove"
        raise RecipeError(msg)
    save_graph(student, folder / START)
    write_whole(folder / STARTED, json.dumps(identity, indent=1) + "\n")


def _job(folder: Path, opened: Opened, recipe: Recipe, rest: "Samples", held: "Samples") -> "Job":
    import onnx_ir as ir

    from edgecompile.distill.job import Job

    table = recipe.distill
    plan = planner(opened, recipe) if table.quantize_aware else lambda _: FLOAT
    student = ir.load(folder / START)
    return Job(opened.teacher, student, rest, held, table, folder, plan)


def _digest(model: "ir.Model") -> str:
    """Return the SHA-256 of a graph's weights."""
    found = hashlib.sha256()
    for name, value in sorted(model.graph.initializers.items()):
        if value.const_value is not None:
            found.update(f"{name} {value.shape}".encode())
            found.update(value.const_value.numpy().tobytes())
    return found.hexdigest()


def _record(
    identity: Mapping[str, Any], trained: "Trained", recipe: Recipe, opened: Opened
) -> dict[str, Any]:
    """Return student.json: what the student came from, the recipe's tables, the figures."""
    from edgecompile.prune.compare_widths import compare_widths

    rows = {row["step"]: row for row in trained.history}
    figures = ("mean", "min", "signal")
    return {
        "edgecompile": __version__,
        "model": opened.source.name,
        "sha256": {
            str(path.relative_to(opened.source.folder)): files.sha256(path)
            for path in opened.source.files
        },
        "groups": compare_widths(opened.teacher, trained.model),
        "prune": asdict(recipe.prune),
        "distill": asdict(recipe.distill),
        "identity": dict(identity),
        "metric": trained.metric,
        "before": {key: trained.history[0][key] for key in figures},
        "after": {key: rows[trained.best_step][key] for key in figures},
        "best_step": trained.best_step,
        "steps": trained.history[-1]["step"],
    }


def _write(folder: Path, trained: "Trained", record: Mapping[str, Any]) -> None:
    from edgecompile.distill.checkpoints import write_whole
    from edgecompile.distill.plot_loss import plot_loss
    from edgecompile.distill.save_graph import save_graph

    names = [path.name for path in save_graph(trained.model, folder / STUDENT)]
    plot_loss(trained.history, trained.metric, trained.best_step, folder / PLOT)
    hashes = {name: files.sha256(folder / name) for name in names}
    text = json.dumps({**record, "files": hashes}, indent=2, ensure_ascii=False)
    write_whole(folder / RECORD, text + "\n")  # last: it says that all is there
