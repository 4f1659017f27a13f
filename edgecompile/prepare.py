"""What all targets share: export, canonicalise, prune, calibrate, decide, run the float model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgecompile import files
from edgecompile.errors import ChangedError, UnsupportedError
from edgecompile.plan import FLOAT, Plan
from edgecompile.recipe import Recipe
from edgecompile.stages import lower_float, run_stage
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.data.feed import Feed
    from edgecompile.export.read_model import Source
    from edgecompile.graph import FloatArray
    from edgecompile.parts import Part


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all targets of a build share.

    `dense` is the float model before anything was pruned, `model` what is left of it; `expected`
    are the dense one's answers to the golden samples. `tokenizer` is the tokenizer.json that goes
    with the model, empty where there is none; `vocabulary` and `pruning` say for the manifest what
    was cut.
    """

    source: "Source"
    part: "Part"
    recipe: Recipe
    dense: "ir.Model"
    model: "ir.Model"
    plan: Plan
    data: "Dataset"
    expected: "list[list[FloatArray]]"
    longest: int
    inputs: Mapping[str, str]
    tokenizer: bytes = b""
    vocabulary: Mapping[str, Any] = field(default_factory=dict)
    pruning: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the model's name, with that of the part."""
        return "-".join(filter(None, (self.source.name, self.part.name)))

    @property
    def outputs(self) -> list[str]:
        """Return the names of the model's outputs."""
        return [str(value.name) for value in self.model.graph.outputs]


def prepare(source: "Source", recipe: Recipe, trace: Trace, *, outputs: bool = False) -> Prepared:
    """Do once what all targets share, for a model that is one graph."""
    return next(prepare_parts(source, recipe, trace, outputs=outputs))


def prepare_parts(
    source: "Source",
    recipe: Recipe,
    trace: Trace,
    board: Target | None = None,
    *,
    quantized: bool = True,
    outputs: bool = False,
) -> Iterator[Prepared]:
    """Export a model; for each of its parts, do once what all targets share.

    Budgets of [prune] are spent on `board`. Not `quantized`, the plan is empty.
    `outputs` says that an engine rounds what Linears give: it is observed too.
    """
    from edgecompile.data.dataset import choose_data
    from edgecompile.data.limits import longest_sequence
    from edgecompile.parts import parts_of

    trace.say("export", f"{source.path}, {source.route} exporter")
    graphs = _export(source, trace)
    exported = len(trace.steps)
    read: Dataset | None = None
    for part in parts_of(graphs, source.config.values if source.config is not None else {}):
        del trace.steps[exported:]
        if part.name:
            trace.say("part", f"{part.name}, of {', '.join(graphs)}")
        model = _canonicalise(source, part, trace)
        longest = longest_sequence(model, recipe.shapes.sequence[1])
        if read is None or not part.follows:
            read = choose_data(recipe, part.front(model), source.folder, longest)
            for warning in read.warnings:
                trace.say("warning", warning)
        yield _prepare(
            source,
            part,
            model,
            read,
            longest=longest,
            recipe=recipe,
            trace=trace,
            board=board,
            quantized=quantized,
            outputs=outputs,
        )


def _prepare(
    source: "Source",
    part: "Part",
    model: "ir.Model",
    given: "Dataset",
    *,
    longest: int,
    recipe: Recipe,
    outputs: bool,
    trace: Trace,
    board: Target | None,
    quantized: bool,
) -> Prepared:
    """Prune, calibrate, decide, run the float model; `given` is what the data holds of inputs."""
    from edgecompile.data.encoder import TOKENIZER
    from edgecompile.gate import check_pruned
    from edgecompile.parts import complete_data
    from edgecompile.plan_model import plan_model
    from edgecompile.prune_units import prune_units
    from edgecompile.prune_vocabulary import prune_vocabulary
    from edgecompile.read_student import read_student
    from edgecompile.session import answer, session
    from edgecompile.spend_on_target import aim_of

    dense = model
    data = given if part.complete is None else complete_data(given, part.complete)
    golden = data.golden
    folder = recipe.path(recipe.model.tokenizer) if recipe.model.tokenizer else source.folder
    tokenizer = _read_tokenizer(folder / TOKENIZER, model)
    vocabulary: Mapping[str, Any] = {}
    pruning: Mapping[str, Any] = {}
    if recipe.distils:
        trace.say("distill", f"reading the trained student in {recipe.distill.student}")
        model, pruning = read_student(source, recipe)
    if recipe.prune.vocabulary:
        cut = prune_vocabulary(
            model, part, data, folder=folder, longest=longest, recipe=recipe, trace=trace
        )
        model, tokenizer, vocabulary = cut.model, cut.tokenizer, cut.table
        data, golden = cut.data, cut.golden
    pruned = None
    if recipe.prune.cuts_units and not recipe.distils:
        aim = aim_of(recipe, board, model, data.golden, longest)
        pruned = prune_units(model, part, data, recipe.prune, trace, aim)
        model, data, pruning = pruned.model, pruned.own_data(part, given, data), pruned.table
    reference = lower_float(model)
    plan = FLOAT
    if quantized:
        plan = plan_model(model, reference, data, recipe, outputs=outputs, trace=trace)
    trace.say("evaluate", f"asking the float model for answers to {len(data.golden)} {data.judges}")
    native = source.route == "native"
    wide = reference if model is dense else lower_float(dense)
    expected = answer(session(wide if native else _pooled(source, part)), golden)
    if not native:
        _check_same(wide, expected, golden)
    inputs = {str(path.relative_to(source.folder)): files.sha256(path) for path in source.files}
    inputs |= data.hashes
    if pruned is not None:
        expected = [pruned.narrow(answers) for answers in expected]
    prepared = Prepared(
        source=source,
        part=part,
        recipe=recipe,
        dense=dense,
        model=model,
        plan=plan,
        data=data,
        expected=expected,
        longest=longest,
        inputs=inputs,
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        pruning=pruning,
    )
    if pruning or vocabulary.get("golden_outside"):
        check_pruned(prepared, answer(session(reference), data.golden), trace)
    return prepared


def _read_tokenizer(path: "Path", model: "ir.Model") -> bytes:
    """Return the tokenizer.json of a model that reads tokens."""
    reads = any(value.name == "input_ids" for value in model.graph.inputs)
    return path.read_bytes() if reads and path.is_file() else b""


def _check_same(
    reference: "ir.Model", expected: "list[list[FloatArray]]", golden: "Sequence[Feed]"
) -> None:
    """Compare our float graph with the exported one on real data, whose lengths no probe chose."""
    from edgecompile.probe import close
    from edgecompile.session import answer, session

    for answers, truths in zip(answer(session(reference), golden), expected, strict=True):
        for value, ours, truth in zip(reference.graph.outputs, answers, truths, strict=True):
            if not close(ours, truth):
                raise ChangedError(str(value.name))


def _export(source: "Source", trace: Trace) -> "Mapping[str, ir.Model]":
    from edgecompile.export import read_model

    with trace.step("export", source.route) as done:
        graphs = read_model.export_parts(source)
        for graph in graphs.values():
            done(graph)
    return graphs


def _canonicalise(source: "Source", part: "Part", trace: Trace) -> "ir.Model":
    """Return the canonical graph of what an exporter gave; the native one's is canonical."""
    from edgecompile.export import read_model
    from edgecompile.probe import check_answers, take_probe

    if source.route == "native":
        return part.model
    trace.say("canonicalise", "recognising attention, LayerNormalization, Gelu and Linears")
    probe = take_probe(part.model)
    model = run_stage("canonicalise", part.model, {"probe": probe}, trace)
    check_answers(lower_float(model), probe)
    return model if part.name else read_model.pooled(source, model)


def _pooled(source: "Source", part: "Part") -> "ir.Model":
    """Return the exported graph of a part, with the pooling that its directory asks for."""
    from edgecompile.export import read_model

    return part.model if part.name else read_model.pooled(source, part.model)


def float_model(source: "Source", trace: Trace) -> "ir.Model":
    """Return the canonical float graph of a model that is one graph."""
    from edgecompile.parts import parts_of

    trace.say("export", f"{source.path}, {source.route} exporter")
    graphs = _export(source, trace)
    parts = parts_of(graphs, source.config.values if source.config is not None else {})
    if len(parts) != 1 or parts[0].complete is not None:
        msg = f"{source.path}: a model with a cache or of several graphs cannot be distilled yet"
        raise UnsupportedError(msg)
    return _canonicalise(source, parts[0], trace)
