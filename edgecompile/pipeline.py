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

GOLDEN_IN_BUNDLE = 16


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
    recipe: Recipe
    model: "ir.Model"
    plan: Plan
    data: "Dataset"
    expected: "list[list[FloatArray]]"
    longest: int
    inputs: Mapping[str, str]

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
        prepared = prepare(source, recipe, trace)
        shared = len(trace.steps)
        for board in boards:
            folder = output / f"{source.name}-{board.name}"
            with files.staged_folder(folder) as scratch:
                bundle = compile_for(board, prepared, scratch, trace)
            del trace.steps[shared:]
            yield replace(bundle, folder=folder)


def prepare(source: "Source", recipe: Recipe, trace: Trace) -> Prepared:
    """Do once what all targets share: export, calibrate, decide, run the float model."""
    from edgecompile.data.dataset import choose_data
    from edgecompile.data.limits import longest_sequence
    from edgecompile.session import answer, session

    trace.say("export", f"{source.path}, {source.route} exporter")
    model, exported = _export(source, trace)
    longest = longest_sequence(model, recipe.shapes.sequence[1])
    data = choose_data(recipe, model, source.folder, longest)
    for warning in data.warnings:
        trace.say("warning", warning)
    reference = lower(model, FLOAT, REFERENCE)
    plan = FLOAT
    if recipe.quantize.scheme == "int8":
        trace.say("quantize", f"observing {len(data.calibration)} calibration samples")
        plan = _quantize(model, reference, data, trace)
    trace.say("evaluate", f"asking the float model for answers to {len(data.golden)} {data.judges}")
    expected = answer(session(reference if exported is None else exported), data.golden)
    if exported is not None:
        _check_same(reference, expected, data.golden)
    inputs = {str(path.relative_to(source.folder)): files.sha256(path) for path in source.files}
    return Prepared(source, recipe, model, plan, data, expected, longest, {**inputs, **data.hashes})


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


def _export(source: "Source", trace: Trace) -> "tuple[ir.Model, ir.Model | None]":
    """Return the canonical graph and, from a foreign exporter, the graph that it gave."""
    from edgecompile.export import read_model

    with trace.step("export", source.route) as done:
        exported = read_model.export(source)
        done(exported)
    if source.route == "native":
        return exported, None
    from edgecompile.probe import check_answers, take_probe

    trace.say("canonicalise", "recognising attention, LayerNormalization, Gelu and Linears")
    probe = take_probe(exported)
    model = _run("canonicalise", exported, {"probe": probe}, trace)
    check_answers(lower(model, FLOAT, REFERENCE), probe)
    return read_model.pooled(source, model), read_model.pooled(source, exported)


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
    found = accuracy.compare(metric, answers, prepared.expected, golden)
    floor = _gate(board, prepared, found)
    profile = _profile(board, prepared, folder / names[0], trace)
    kept = slice(0, GOLDEN_IN_BUNDLE)
    seen = accuracy.compare(metric, answers[kept], prepared.expected[kept], golden[kept])
    names += [
        bundles.write_golden(folder, prepared.outputs, golden[kept], prepared.expected[kept]),
        bundles.write_smoke_test(folder),
    ]
    manifest = {
        "schema": 1,
        "edgecompile": __version__,
        "model": prepared.source.name,
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
    from edgecompile.data.limits import takes_any_length
    from edgecompile.emit import onnxruntime
    from edgecompile.profile.host import read_host, why_not
    from edgecompile.profile.profile_host import profile_host

    reason = why_not(read_host(), board)
    doing = f"not timed: {reason}" if reason else "timing float, dynamic int8 and artifact in turn"
    trace.say("profile", f"{board.name}: {doing}")
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        plain = _run("lower/exchange", prepared.model, {}, None)
        (name, *_) = onnxruntime.write(plain, Path(scratch), {}, one_file_bytes=0)
        longest = max(prepared.data.golden, key=lambda feed: sum(a.size for a in feed.values()))
        wishes = prepared.recipe.profile
        lengths = [n for n in wishes.sequence if n <= prepared.longest] or [prepared.longest]
        if not takes_any_length(prepared.model):
            lengths = [max(a.shape[1] if a.ndim > 1 else 1 for a in longest.values())]
        models = {"float": Path(scratch) / name, "artifact": artifact}
        return profile_host(board, models, longest, lengths, wishes.repeats)


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
