"""What a training is made of: the dense model, its student, the samples, the int8 plan."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgecompile.errors import DataError, RecipeError
from edgecompile.plan import Plan
from edgecompile.recipe import Recipe
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.data.source import Source as Data
    from edgecompile.distill.batches import Samples
    from edgecompile.distill.workers import Workers
    from edgecompile.export.read_model import Source


@dataclass(frozen=True, slots=True)
class Opened:
    """The dense model, the data of the build, and the data to train with."""

    source: "Source"
    teacher: "ir.Model"
    dataset: "Dataset"
    data: "Data"
    padding: int


def open_inputs(recipe: Recipe, trace: Trace) -> Opened:
    """Export the dense model, open the data."""
    from edgecompile.data.committed import data_dir
    from edgecompile.data.dataset import choose_data
    from edgecompile.data.limits import longest_sequence
    from edgecompile.data.source import open_source, request_of
    from edgecompile.export.read_model import find_source
    from edgecompile.export_model import float_model

    if not recipe.model.source:
        msg = 'the recipe names no model: write [model] source = "..."'
        raise RecipeError(msg)
    source = find_source(recipe.path(recipe.model.source))
    teacher = float_model(source, trace)
    longest = longest_sequence(teacher, recipe.shapes.sequence[1])
    dataset = choose_data(recipe, teacher, source.folder, longest)
    table = recipe.distill
    through = recipe.path(recipe.model.tokenizer) if recipe.model.tokenizer else source.folder
    request = replace(request_of(teacher, through, longest), column=table.column)
    if not table.data and not any(v.name == "input_ids" for v in teacher.graph.inputs):
        inputs = [str(value.name) for value in teacher.graph.inputs]
        msg = (
            f"[distill] data: name what to train on; the model's inputs {inputs} are not those of a"
            " text model, for which there is a default"
        )
        raise RecipeError(msg)
    place = recipe.path(table.data) if table.data else data_dir() / "docs.jsonl"
    data = open_source(place, request)
    padding = request.encoder().padding if data.kind == "text" else 0
    return Opened(source, teacher, dataset, data, padding)


def make_student(opened: Opened, recipe: Recipe, trace: Trace) -> "ir.Model":
    """Return the student before training: the file that the recipe names, else what is pruned.

    One that loses its units on the way begins as the dense model.
    """
    from edgecompile.data.limits import longest_sequence
    from edgecompile.export import onnx_file
    from edgecompile.narrow.prune_units import prune_units
    from edgecompile.narrow.spend_on_target import aim_of
    from edgecompile.parts import Part
    from edgecompile.target import first_of

    if recipe.distill.start:
        return onnx_file.read(recipe.path(recipe.distill.start))
    if recipe.distill.narrow_every or not recipe.prune.cuts_units:
        return opened.teacher
    part, data = Part("", opened.teacher), opened.dataset
    board = first_of(recipe.targets.names)
    longest = longest_sequence(opened.teacher, recipe.shapes.sequence[1])
    aim = aim_of(recipe, board, opened.teacher, data.golden, longest)
    return prune_units(opened.teacher, part, data, recipe.prune, trace, aim).model


def read_split(opened: Opened, recipe: Recipe, workers: "Workers") -> "tuple[Samples, Samples]":
    """Read the samples that train, and those that judge; what judges a build is neither."""
    from edgecompile.distill.batches import hold_out, read_samples, without

    table = recipe.distill
    wanted = table.samples or opened.data.count(1 << 31)
    labels = _labels(opened, recipe, wanted) if table.labels else None
    samples = read_samples(opened.data, wanted, labels, opened.padding)
    if len(samples.feeds) < table.samples:
        msg = (
            f"{opened.data.path}: holds {len(samples.feeds)} samples, [distill] samples asks for"
            f" {table.samples}"
        )
        raise DataError(msg)
    a_step = table.batch * table.accumulate * workers.count
    samples = without(samples, opened.dataset.golden)
    return hold_out(samples, table.held_out, a_step, table.seed)


def _labels(opened: Opened, recipe: Recipe, wanted: int) -> Any:
    from edgecompile.distill.labels import read_labels
    from edgecompile.evaluate.accuracy import LOGITS

    table = recipe.distill
    shapes = {str(v.name): v.shape for v in opened.teacher.graph.outputs}
    shape = shapes.get(LOGITS)
    classes = shape[-1] if shape is not None and len(shape) == 2 else None
    if not isinstance(classes, int):
        msg = (
            f"[distill] labels: one a sample needs an output '{LOGITS}' [batch, classes]; the"
            f" model's outputs are {list(shapes)}"
        )
        raise RecipeError(msg)
    path = opened.data.path
    found = read_labels(path, table.labels, recipe.path(table.labels), classes)
    count = opened.data.count(1 << 31)
    if len(found) not in (count, wanted):
        msg = (
            f"{path}: {count} samples but {len(found)} labels in {table.labels}; give one a sample"
        )
        raise DataError(msg)
    return found


def planner(opened: Opened, recipe: Recipe) -> "Callable[[ir.Model], Plan]":
    """Return the function that plans int8 for a student, as a build would."""
    from edgecompile.quantize.decide_plan import decide_plan
    from edgecompile.quantize.observe_ranges import observe_ranges
    from edgecompile.stages import lower_float

    def plan(model: "ir.Model") -> Plan:
        observed = observe_ranges(lower_float(model), opened.dataset.calibration)
        wishes = recipe.quantize
        return decide_plan(
            model, observed, equalise=wishes.equalise, correct_bias=wishes.bias_correction
        )

    return plan
