"""The stages, in order: export, canonicalise, quantize, lower, emit, evaluate, profile."""

import importlib
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import __version__, files, passes, target
from edgecompile.errors import ChangedError, GateError, OutputError
from edgecompile.passes import Step
from edgecompile.plan import FLOAT, Plan
from edgecompile.recipe import Recipe
from edgecompile.target import REFERENCE, Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.data.feed import Feed
    from edgecompile.evaluate.accuracy import Accuracy
    from edgecompile.export.read_model import Source
    from edgecompile.graph import FloatArray
    from edgecompile.parts import Part


@dataclass(frozen=True, slots=True)
class Bundle:
    """One finished bundle: its folder, its manifest, its profile."""

    folder: Path
    manifest: Mapping[str, Any]
    profile: Mapping[str, Any]


@dataclass(slots=True)
class Trace:
    """What happens during a build: says it aloud, keeps each step, writes each step's graph."""

    say: Callable[[str, str], None] = lambda _stage, _what: None
    dump: Path | None = None
    steps: list[Step] = field(default_factory=list)
    dumped: int = 0

    @contextmanager
    def step(self, stage: str, name: str) -> Iterator[Callable[["ir.Model"], None]]:
        """Time a step that is not a pass; call what is yielded with the model it leaves."""
        from edgecompile.graph import weight_bytes

        start = time.perf_counter()

        def done(model: "ir.Model") -> None:
            seconds = round(time.perf_counter() - start, 4)
            size = weight_bytes(model.graph.initializers.values())
            self.add(Step(stage, name, seconds, len(model.graph), size), model)

        yield done

    def add(self, step: Step, model: "ir.Model") -> None:
        """Keep a step; dump its graph as NNN_stage_pass.onnx."""
        self.steps.append(step)
        if self.dump is not None:
            import onnx_ir as ir

            self.dumped += 1
            name = f"{self.dumped:03}_{step.stage.replace('/', '-')}_{step.name}.onnx"
            try:
                self.dump.mkdir(parents=True, exist_ok=True)
                ir.save(model, self.dump / name)
            except OSError as error:
                msg = f"{self.dump}: cannot write there: {error.strerror}; choose another --dump"
                raise OutputError(msg) from error


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all targets of a build share."""

    source: "Source"
    part: "Part"
    recipe: Recipe
    model: "ir.Model"
    plan: Plan
    data: "Dataset"
    expected: "list[list[FloatArray]]"
    longest: int
    inputs: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the model's name, with that of the part."""
        return "-".join(filter(None, (self.source.name, self.part.name)))

    @property
    def outputs(self) -> list[str]:
        """Return the names of the model's outputs."""
        return [str(value.name) for value in self.model.graph.outputs]


def build(
    model: Path, targets: Sequence[str], output: Path, recipe: Recipe, trace: Trace
) -> Iterator[Bundle]:
    """Compile a model for each target; yield each bundle as soon as it stands."""
    from edgecompile.export.read_model import find_source

    boards = [target.load(name) for name in dict.fromkeys(targets)]
    source = find_source(model)
    with files.output_folder(output):
        for prepared in prepare_parts(source, recipe, trace):
            shared = len(trace.steps)
            for board in boards:
                folder = output / f"{prepared.name}-{board.name}"
                with files.staged_folder(folder) as scratch:
                    bundle = compile_for(board, prepared, scratch, trace)
                del trace.steps[shared:]
                yield replace(bundle, folder=folder)


def prepare(source: "Source", recipe: Recipe, trace: Trace) -> Prepared:
    """Do once what all targets share, for a model that is one graph."""
    return next(prepare_parts(source, recipe, trace))


def prepare_parts(source: "Source", recipe: Recipe, trace: Trace) -> Iterator[Prepared]:
    """Export a model; for each of its parts, do once what all targets share."""
    from edgecompile.data.dataset import choose_data
    from edgecompile.data.limits import longest_sequence
    from edgecompile.parts import complete_data, parts_of

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
        data = read if part.complete is None else complete_data(read, part.complete)
        yield _prepare(source, part, model, data, longest=longest, recipe=recipe, trace=trace)


def _prepare(
    source: "Source",
    part: "Part",
    model: "ir.Model",
    data: "Dataset",
    *,
    longest: int,
    recipe: Recipe,
    trace: Trace,
) -> Prepared:
    """Calibrate, decide, run the float model."""
    from edgecompile.session import answer, session

    reference = lower(model, FLOAT, REFERENCE)
    plan = FLOAT
    if recipe.quantize.scheme == "int8":
        trace.say("quantize", f"observing {len(data.calibration)} calibration samples")
        plan = _quantize(model, reference, data, trace)
    trace.say("evaluate", f"asking the float model for answers to {len(data.golden)} {data.judges}")
    native = source.route == "native"
    expected = answer(session(reference if native else _pooled(source, part)), data.golden)
    if not native:
        _check_same(reference, expected, data.golden)
    inputs = {str(path.relative_to(source.folder)): files.sha256(path) for path in source.files}
    inputs |= data.hashes
    return Prepared(source, part, recipe, model, plan, data, expected, longest, inputs)


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
    model = _run("canonicalise", part.model, {"probe": probe}, trace)
    check_answers(lower(model, FLOAT, REFERENCE), probe)
    return model if part.name else read_model.pooled(source, model)


def _pooled(source: "Source", part: "Part") -> "ir.Model":
    """Return the exported graph of a part, with the pooling that its directory asks for."""
    from edgecompile.export import read_model

    return part.model if part.name else read_model.pooled(source, part.model)


def _quantize(model: "ir.Model", reference: "ir.Model", data: "Dataset", trace: Trace) -> Plan:
    from edgecompile.quantize.decide_plan import decide_plan
    from edgecompile.quantize.observe_ranges import observe_ranges

    with trace.step("quantize", "observe-ranges") as done:
        observed = observe_ranges(reference, data.calibration)
        done(reference)
    with trace.step("quantize", "decide-plan") as done:
        plan = decide_plan(model, observed)
        done(model)
    return plan


def lower(model: "ir.Model", plan: Plan, board: Target, trace: Trace | None = None) -> "ir.Model":
    """Return the canonical graph in the operators that a target's engine runs fast."""
    return _run(f"lower/{board.engine}", model, {"plan": plan, "target": board}, trace)


def _run(
    stage: str, model: "ir.Model", context: Mapping[str, Any], trace: Trace | None
) -> "ir.Model":
    for step, result in passes.run(passes.passes_of(stage), model, context):
        model = result
        if trace is not None:
            trace.add(step, model)
    return model


def compile_for(board: Target, prepared: Prepared, folder: Path, trace: Trace) -> Bundle:
    """Lower, emit, judge and time one target's artifact; fill its bundle's folder."""
    from edgecompile.emit import bundle as bundles
    from edgecompile.evaluate import accuracy

    engine = importlib.import_module(f"edgecompile.emit.{board.engine}")
    trace.say("lower", f"{board.name}: {board.engine}, opset {board.opset}")
    lowered = lower(prepared.model, prepared.plan, board, trace)
    with trace.step("emit", board.engine) as done:
        names = engine.write(lowered, folder, _metadata(board, prepared))
        done(lowered)
    golden = prepared.data.golden
    trace.say(
        "evaluate", f"{board.name}: running the artifact on {len(golden)} {prepared.data.judges}"
    )
    run = engine.runner(folder / names[0])
    answers = [run(feed) for feed in golden]
    metric = accuracy.metric_of(prepared.outputs, prepared.expected[0])
    found = accuracy.compare(metric, answers, prepared.expected, golden, prepared.outputs)
    floor = _gate(board, prepared, found)
    profile = _profile(board, prepared, folder / names[0], trace)
    kept = slice(0, bundles.how_many(golden, prepared.expected))
    seen = accuracy.compare(
        metric, answers[kept], prepared.expected[kept], golden[kept], prepared.outputs
    )
    names += [
        bundles.write_golden(folder, prepared.outputs, golden[kept], prepared.expected[kept]),
        bundles.write_smoke_test(folder),
    ]
    manifest = {
        "schema": 1,
        "edgecompile": __version__,
        "model": prepared.name,
        "part": prepared.part.name,
        "target": board.name,
        "engine": board.engine,
        "runtime": board.runtime,
        "built_with": f"{board.engine} {engine.runtime_version()}",
        "artifact": names[0],
        "accuracy": asdict(found) | {"floor": floor, "kind": "measured", "how": engine.HOW},
        "golden": {"file": bundles.GOLDEN, **asdict(seen)},
        "route": prepared.source.route,
        "recipe": {k: v for k, v in asdict(prepared.recipe).items() if k != "folder"},
        "inputs": dict(prepared.inputs),
        "calibration": dict(prepared.data.calibrated),
        "evaluation": dict(prepared.data.judged),
        "quantization": _plan_table(prepared.plan),
        "steps": [asdict(step) for step in trace.steps],
    }
    return Bundle(folder, bundles.write_manifest(folder, manifest, profile, names), profile)


def _gate(board: Target, prepared: Prepared, found: "Accuracy") -> float:
    """Return the floor, or raise when the artifact lies below it."""
    gate = prepared.recipe.gate
    floors = {"cosine": gate.cosine_mean, "agreement": gate.agreement, "signal": gate.signal}
    floor, where = floors[found.metric], f"on {found.samples} golden samples"
    if found.mean >= floor and found.signal >= gate.signal:
        return floor
    what, value, wanted = found.metric, found.mean, floor
    if found.mean >= floor:
        what, value, wanted = "signal (R^2)", found.signal, gate.signal
    msg = f"{board.name}: {what} to float is {_down(value)} {where}, the gate wants {wanted:.4f}"
    msg += f"; no {board.name} bundle was written"
    if prepared.plan.activations:
        from edgecompile.evaluate.layer_errors import layer_errors

        reference = lower(prepared.model, FLOAT, REFERENCE)
        errors = layer_errors(reference, prepared.plan, board, prepared.data.golden[:4])
        for name, error in list(errors.items())[:1]:
            msg += f"; worst layer: '{name}', which in int8 loses {error:.1%} of its output"
    raise GateError(msg)


def _down(score: float) -> str:
    """Write a score so that it never looks like the floor that it missed."""
    return f"{math.floor(score * 1e4) / 1e4:.4f}"


def _profile(board: Target, prepared: Prepared, artifact: Path, trace: Trace) -> dict[str, Any]:
    """Time the artifact against the float model in the form in which other tools export it."""
    from edgecompile.emit import onnxruntime
    from edgecompile.profile.choose_feeds import choose_feeds
    from edgecompile.profile.host import read_host, why_not
    from edgecompile.profile.profile_host import profile_host

    reason = why_not(read_host(), board)
    doing = f"not timed: {reason}" if reason else "timing float, dynamic int8 and artifact in turn"
    trace.say("profile", f"{board.name}: {doing}")
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        plain = _run("lower/exchange", prepared.model, {}, None)
        (name, *_) = onnxruntime.write(plain, Path(scratch), {}, one_file_bytes=0)
        wishes = prepared.recipe.profile
        feeds = choose_feeds(
            prepared.model, prepared.data.golden, wishes.sequence, prepared.longest
        )
        models = {"float": Path(scratch) / name, "artifact": artifact}
        return profile_host(board, models, feeds, wishes.repeats)


def _metadata(board: Target, prepared: Prepared) -> dict[str, str]:
    """Return what the artifact says of itself: `inspect` reads it back."""
    import json

    kept = json.dumps(dict(prepared.plan.kept_float))
    return {"edgecompile": __version__, "edgecompile.target": board.name, "kept_float": kept}


def _plan_table(plan: Plan) -> dict[str, Any]:
    """Return the plan without its vectors."""
    activations = {
        name: {"low": a.low, "high": a.high, "alpha": a.alpha}
        for name, a in plan.activations.items()
    }
    return {"activations": activations, "kept_float": dict(plan.kept_float)}
