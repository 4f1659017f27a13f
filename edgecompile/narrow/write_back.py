"""`edgecompile prune`: a recipe -> the pruned float model, in the form in which it came.

Native families:  config.json, model.safetensors, tokenizer and pooling: a Hugging Face directory
all others:       model.onnx, standard operators, and what its data is read through
both:             edgecompile.json, what was cut and what it cost; README.md, the same in words

What was written is read back, and must answer as the pruned graph did, bit for bit.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile import __version__, files
from edgecompile.errors import ModelError, OutputError, PromiseError, RecipeError
from edgecompile.prepare import Prepared, prepare_parts
from edgecompile.recipe import Recipe
from edgecompile.report.pruned_readme import readme
from edgecompile.stages import lower_float, run_stage
from edgecompile.target import first_of
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.evaluate.accuracy import Accuracy

CHECKED = 16
"""Samples on which what was written must answer bit for bit."""
README = "README.md"


@dataclass(frozen=True, slots=True)
class Written:
    """A folder that was written, and what its edgecompile.json says."""

    folder: Path
    note: Mapping[str, Any]


def write_back(recipe: Recipe, output: Path, trace: Trace) -> list[Written]:
    """Write the pruned model of a recipe, or its trained student; a folder for each of its parts.

    Raises GateError, as a build does, if its answers are too far from the dense model's.
    """
    from edgecompile.export.read_model import find_source

    if not recipe.model.source:
        msg = 'the recipe names no model: write [model] source = "..."'
        raise RecipeError(msg)
    if not (recipe.prune.cuts_units or recipe.prune.vocabulary or recipe.distils):
        msg = "the recipe removes nothing: say in [prune] what is to go: ffn, heads or vocabulary"
        raise RecipeError(msg)
    source = find_source(recipe.path(recipe.model.source))
    if output.resolve() == source.folder.resolve():
        msg = f"{output}: is where the model itself lies; choose another -o"
        raise OutputError(msg)
    board = first_of(recipe.targets.names)
    with files.staged_folder(output, files.NOTE) as scratch:
        parts = [
            (prepared.part.name, _write(prepared, scratch / prepared.part.name, trace))
            for prepared in prepare_parts(source, recipe, trace, board, quantized=False)
        ]
        if not (scratch / files.NOTE).is_file():  # that of a model of several parts
            files.write_json(scratch / files.NOTE, {"parts": [name for name, _ in parts]})
    return [Written(output / name, note) for name, note in parts]


def _write(prepared: Prepared, folder: Path, trace: Trace) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    if prepared.source.route == "native":
        loads = _write_directory(prepared, folder)
    else:
        loads = False
        what = "is written as an .onnx alone: natively exported families get a directory"
        trace.say("warning", f"{prepared.name} {what}")
        _write_onnx(prepared, folder)
    trace.say("evaluate", "reading back what was written")
    note = _note(prepared, _judge(prepared, folder), loads=loads)
    files.write_json(folder / files.NOTE, note)
    (folder / README).write_text(readme(note), encoding="utf-8")
    return note


def _write_directory(prepared: Prepared, folder: Path) -> bool:
    """Write a Hugging Face directory; say whether transformers loads it."""
    from edgecompile.export.write_checkpoint import write_checkpoint
    from edgecompile.export.write_tokenizer import TOKENIZER, write_beside

    source, recipe = prepared.source, prepared.recipe
    config = source.config
    if config is None:
        msg = f"{source.path}: a directory without config.json"
        raise ModelError(msg)
    loads = write_checkpoint(prepared.model, source.folder, config, folder)
    named = recipe.path(recipe.model.tokenizer) if recipe.model.tokenizer else source.folder
    cut_from = named / TOKENIZER if prepared.vocabulary else None
    write_beside(source.folder, prepared.tokenizer, cut_from, folder)
    return loads


def _write_onnx(prepared: Prepared, folder: Path) -> None:
    """Write model.onnx in standard operators, and what its data is read through."""
    from edgecompile.emit import bundle, onnxruntime
    from edgecompile.export.read_model import BESIDE

    plain = run_stage("lower/exchange", prepared.model, {}, None)
    onnxruntime.write(plain, folder, {})
    for name in BESIDE:
        if (prepared.source.folder / name).is_file():
            shutil.copyfile(prepared.source.folder / name, folder / name)
    bundle.write_tokenizer(folder, prepared.tokenizer)


def _judge(prepared: Prepared, folder: Path) -> "Accuracy":
    """Compare what was written with the dense model, and with the graph that it was written from.

    Raises PromiseError (our bug) where it is another model than that graph.
    """
    from edgecompile.emit import onnxruntime
    from edgecompile.evaluate import accuracy
    from edgecompile.export import native
    from edgecompile.export.checkpoint import read_config
    from edgecompile.session import answer, session

    def graph() -> "ir.Model":
        return native.export(folder, read_config(folder))

    golden, expected = prepared.data.golden, prepared.expected
    if prepared.source.route == "native":
        answers = answer(session(lower_float(graph())), golden)
        first = answer(session(lower_float(prepared.model)), golden[:CHECKED])
        for ours, theirs in zip(first, answers[:CHECKED], strict=True):
            if not all(map(np.array_equal, ours, theirs)):
                step, promise = "write-checkpoint", "What is written answers as the graph did."
                raise PromiseError(step, promise, "it does not")
    else:
        run = onnxruntime.runner(folder / onnxruntime.ARTIFACT)
        answers = [run(feed) for feed in golden]
    metric = accuracy.metric_of(prepared.outputs, expected[0])
    return accuracy.compare(metric, answers, expected, golden, prepared.outputs)


def _note(prepared: Prepared, found: "Accuracy", *, loads: bool) -> dict[str, Any]:
    """Return edgecompile.json."""
    from edgecompile.graph import weight_bytes
    from edgecompile.prune.compare_widths import compare_widths

    dense, model = prepared.dense, prepared.model
    sizes = [weight_bytes(m.graph.initializers.values()) for m in (dense, model)]
    return {
        "edgecompile": __version__,
        "model": prepared.name,
        "route": prepared.source.route,
        "inputs": dict(prepared.inputs),
        "recipe": {key: asdict(getattr(prepared.recipe, key)) for key in ("prune", "distill")},
        "groups": compare_widths(dense, model),
        "vocabulary": dict(prepared.vocabulary),
        "weight_bytes": {"dense": sizes[0], "pruned": sizes[1]},
        "accuracy": asdict(found),
        "transformers_loads_it": loads,
    }
