"""One target of a build: lower, emit, judge, climb the ladder if need be, time, fill the bundle."""

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import __version__, engines, fastest
from edgecompile.attempt import Attempt, attempt, emit
from edgecompile.errors import GateError
from edgecompile.gate import down, floor_of, passes_gate, shortfall
from edgecompile.plan import Plan, rung_of
from edgecompile.prepare import Prepared
from edgecompile.recipe import BESIDE
from edgecompile.search_forms import search_forms, stated_forms
from edgecompile.stages import lower, run_stage
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.ladder import Ask
    from edgecompile.profile.choose_feeds import Timed


TRADE_OFF = "trade-off.svg"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One finished bundle: its folder, its manifest, its profile."""

    folder: Path
    manifest: Mapping[str, Any]
    profile: Mapping[str, Any]


def compile_target(
    boards: Sequence[Target], prepared: Prepared, folder: Path, trace: Trace
) -> Bundle:
    """Compile for a target with its one engine, or with several and keep the fastest."""
    from edgecompile.bundles.report_bundles import add_report

    shared = len(trace.steps)
    boards = [engines.fit_lengths(board, prepared.recipe, prepared.longest) for board in boards]

    def compile_into(board: Target, place: Path) -> Bundle:
        try:
            forms = stated_forms(board)
            if len(boards) > 1:  # one alone was checked before any work
                engines.check_scheme(board, prepared.recipe.quantize.scheme)
                board, forms = _search(board, prepared, trace)
            return compile_for(board, forms, prepared, place, trace)
        finally:
            del trace.steps[shared:]

    def time_in_turn(artifacts: Mapping[str, Path]) -> "Mapping[str, fastest.Timed]":
        trace.say("profile", f"{boards[0].name}: timing {', '.join(artifacts)} in turn")
        return _time(artifacts, {name: name for name in artifacts}, prepared)

    if len(boards) == 1:
        bundle = compile_into(boards[0], folder)
    else:
        bundle = fastest.compile_fastest(boards, folder, compile_into, time_in_turn)
    return add_report(bundle, trace)


def _search(board: Target, prepared: Prepared, trace: Trace) -> tuple[Target, list[dict[str, Any]]]:
    """Time an engine's graph forms on the artifact; keep the fastest."""

    def emit(variant: Target, place: Path) -> Path:
        lowered = lower(prepared.model, prepared.plan, variant)
        return place / str(engines.engine(variant.engine).write(lowered, place, {})[0])

    def time_in_turn(artifacts: Mapping[str, Path]) -> Mapping[str, float]:
        times = _time(artifacts, dict.fromkeys(artifacts, board.engine), prepared)
        return {name: float(row["ms"]) for name, row in times.items()}

    trace.say("lower", f"{board.name}: timing graph forms of {board.engine} in turn")
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        return search_forms(board, Path(scratch), emit, time_in_turn)


def _time(
    artifacts: Mapping[str, Path], engine_of: Mapping[str, str], prepared: Prepared
) -> "Mapping[str, fastest.Timed]":
    from edgecompile.profile.time_engines import time_engines

    timed = max(_timed_feeds(prepared), key=lambda t: t.sequence)
    return time_engines(artifacts, engine_of, timed, prepared.recipe.profile.repeats)


def compile_for(
    board: Target,
    forms: Sequence[Mapping[str, Any]],
    prepared: Prepared,
    folder: Path,
    trace: Trace,
) -> Bundle:
    """Lower, emit, judge and time one target's artifact; fill its bundle's folder."""
    from edgecompile.emit import bundle as bundles
    from edgecompile.evaluate import accuracy, emulated

    engine = engines.engine(board.engine)
    plan = engines.fit_plan(prepared.plan, board)
    plan = engines.observe(plan, board, prepared.model, prepared.data.calibration)
    prepared = replace(prepared, plan=plan)
    tried, board = _first_that_passes(engines.profiles(board), prepared, folder, trace)
    climbed: dict[str, Any] = {}
    if not passes_gate(prepared, tried.worse) and prepared.plan.activations:
        tried, climbed = _climb(board, prepared, tried, folder, trace)
    golden, found, plan = prepared.data.golden, tried.accuracy, tried.plan
    floor = floor_of(prepared, found)
    profile = _profile(board, prepared, folder / tried.names[0], trace)
    profile["numbers"] += engines.numbers(board, folder / tried.names[0])
    made, compiled = _finish(board, tried.names, folder, profile, trace)
    toolchain = engines.toolchain_record(board)
    kind = engine.accuracy_kind or ("emulated" if engine.answer_all else "measured")
    kept = slice(0, bundles.how_many(golden, prepared.expected))
    seen = accuracy.compare(
        found.metric, tried.answers[kept], prepared.expected[kept], golden[kept], prepared.outputs
    )
    _check_size(board, prepared, folder, made)
    names = [
        *made,
        *_draw_curve(prepared, folder, trace),
        bundles.write_golden(folder, prepared.outputs, golden[kept], prepared.expected[kept]),
        bundles.write_samples(folder, _describe(prepared, tried)),
        *bundles.write_smoke_test(folder, board.engine),
        *bundles.write_tokenizer(folder, prepared.tokenizer),
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
        **({"toolchain": dict(toolchain)} if toolchain else {}),
        "artifact": names[0],
        "accuracy": asdict(found) | {"floor": floor, "kind": kind, "how": engine.how},
        "accuracy_emulated": emulated.table(tried.emulated),
        "golden": {"file": bundles.GOLDEN, **asdict(seen), "tokens": _tokens(prepared)},
        "route": prepared.source.route,
        "recipe": {k: v for k, v in asdict(prepared.recipe).items() if k not in BESIDE},
        "inputs": dict(prepared.inputs),
        "forms": [dict(row) for row in forms],
        "calibration": dict(prepared.data.calibrated),
        "evaluation": dict(prepared.data.judged),
        **({"vocabulary": dict(prepared.vocabulary)} if prepared.vocabulary else {}),
        **({"pruning": dict(prepared.pruning)} if prepared.pruning else {}),
        "quantization": _plan_table(prepared.model, plan) | climbed,
        **({"compiled": compiled} if compiled else {}),
        "steps": [asdict(step) for step in trace.steps],
    }
    return Bundle(folder, bundles.write_manifest(folder, manifest, profile, names), profile)


def _first_that_passes(
    boards: Sequence[Target], prepared: Prepared, folder: Path, trace: Trace
) -> tuple[Attempt, Target]:
    """Try an engine's profiles in turn until the gate holds; the last one is what it is."""
    for board in boards:
        tried = attempt(board, prepared, prepared.plan, folder, trace)
        if passes_gate(prepared, tried.worse):
            break
        if board is not boards[-1]:
            what = shortfall(prepared, tried.accuracy, tried.emulated)
            trace.say("ladder", f"{board.name}: profile {board.profile}: {what}; trying the next")
    return tried, board


def _finish(
    board: Target, names: Sequence[str], folder: Path, profile: dict[str, Any], trace: Trace
) -> tuple[list[str], dict[str, Any]]:
    """Let a vendor's compiler make more files of the artifact; its figures go into the profile."""
    finish = engines.engine(board.engine).finish
    if finish is None:
        return list(names), {}
    made, rows, table = finish(list(names), board, folder, trace.say)
    told = {(row["name"], row["model"]) for row in rows}
    others = [n for n in profile["numbers"] if (n["name"], n["model"]) not in told]
    profile["numbers"] = [*others, *rows]
    return made, table


def _check_size(board: Target, prepared: Prepared, folder: Path, names: Sequence[str]) -> None:
    """Fail where layers that had to stay float made the artifact larger than [prune] size."""
    budget = prepared.pruning.get("budget", {})
    limit = prepared.recipe.prune.size_bytes
    size = sum((folder / name).stat().st_size for name in names)
    if limit and budget.get("target") == board.name and size > limit:
        msg = (
            f"{board.name}: the artifact has {size / 1e6:.1f} MB, [prune] size is"
            f" {prepared.recipe.prune.size}: for the gate, layers stay float; lower the [gate], or"
            " ask for less"
        )
        raise GateError(msg)


def _describe(prepared: Prepared, tried: Attempt) -> dict[str, Any]:
    """Return how the artifact answered each golden sample."""
    from edgecompile.evaluate.describe_samples import Answered, describe_samples

    data, judged = prepared.data, slice(0, len(tried.answers))
    answered = Answered(
        tried.answers,
        prepared.expected[judged],
        data.golden[judged],
        prepared.outputs,
        data.texts[judged],
    )
    return describe_samples(tried.accuracy.metric, answered, prepared.recipe.profile.examples)


def _draw_curve(prepared: Prepared, folder: Path, trace: Trace) -> list[str]:
    """Draw the trade-off of a pruning beside the artifact; return the file's name, if it is."""
    from edgecompile.narrow.plot_curve import MISSING, plot_curve

    curve = prepared.pruning.get("curve")
    if not curve:
        return []
    if plot_curve(curve, folder / TRADE_OFF):
        return [TRADE_OFF]
    trace.say("warning", MISSING)
    return []


def _climb(
    board: Target, prepared: Prepared, failed: Attempt, folder: Path, trace: Trace
) -> tuple[Attempt, dict[str, Any]]:
    """Give Linears more precision until the gate holds; raise when it cannot, or may not."""
    from edgecompile.ladder import SAMPLES, climb, measure_ladder

    engine = engines.engine(board.engine)
    model, plan = prepared.model, prepared.plan
    what = f"{board.name}: {shortfall(prepared, failed.accuracy, failed.emulated)}"
    if engine.no_ladder:
        msg = f"{what}; no {board.name} bundle was written; {engine.no_ladder}"
        raise GateError(msg)
    trace.say("ladder", f"{what}; measuring what each layer loses")
    feeds = list(itertools.islice(prepared.data.calibration, SAMPLES))
    ask = _ask_artifact(board, prepared, feeds) if engine.rounds_outputs else None
    ladder = measure_ladder(model, plan, board, engine.rungs, feeds, lower, ask)
    worst = ladder.worst(model)
    if not prepared.recipe.quantize.ladder:
        msg = f"{what}; no {board.name} bundle was written; {worst}"
        raise GateError(msg)

    held: list[Attempt] = []

    def passes(plan: Plan) -> bool:
        tried = attempt(board, prepared, plan, folder, None)
        trace.say("ladder", f"{board.name}: {tried.worse.metric} {down(tried.worse.mean)}")
        holds = passes_gate(prepared, tried.worse)
        if holds:
            held.append(tried)  # the last one is that of the fewest moves
        return holds

    reached = climb(model, plan, ladder.moves, passes)
    if reached is None or not reached[0].activations:
        msg = (
            f"{what}; every Linear would have to be float; no {board.name} bundle was written;"
            f" {worst}; lower the [gate], or ask for [quantize] scheme = 'none'"
        )
        raise GateError(msg)
    plan, count = reached
    trace.say("ladder", f"{board.name}: the gate holds after {count} of {len(ladder.moves)} moves")
    emit(board, prepared, plan, folder, trace)  # again: there lies the file of a later try
    return held[-1], {"ladder": ladder.table(model) | {"moves_made": count}}


def _ask_artifact(board: Target, prepared: Prepared, feeds: "Sequence[Feed]") -> "Ask":
    """Return a function that answers the feeds with the artifact of a plan."""
    engine = engines.engine(board.engine)

    def ask(plan: Plan) -> "list[list[FloatArray]]":
        with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
            lowered = lower(prepared.model, plan, board)
            run = engine.runner(Path(scratch) / engine.write(lowered, Path(scratch), {})[0])
            return [run(feed) for feed in feeds]

    return ask


def _profile(board: Target, prepared: Prepared, artifact: Path, trace: Trace) -> dict[str, Any]:
    """Time the artifact against the dense model in the form in which other tools export it."""
    from edgecompile.emit import onnxruntime
    from edgecompile.energy.energy_numbers import with_energy
    from edgecompile.host import read_host, why_not
    from edgecompile.profile.profile_host import Graphs, profile_host

    reason = why_not(read_host(), board)
    doing = f"not timed: {reason}" if reason else "timing float, dynamic int8 and artifact in turn"
    trace.say("profile", f"{board.name}: {doing}")
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        plain = run_stage("lower/exchange", prepared.dense, {}, None)
        (name, *_) = onnxruntime.write(plain, Path(scratch), {}, one_file_bytes=0)
        feeds = _timed_feeds(prepared)
        models = {"float": Path(scratch) / name, "artifact": artifact}
        graphs = Graphs(prepared.dense, prepared.model)
        profile = profile_host(board, models, graphs, feeds, prepared.recipe.profile.repeats)
    wishes = prepared.recipe.profile
    return with_energy(profile, board, country=wishes.country, a_day=wishes.inferences_a_day)


def _timed_feeds(prepared: Prepared) -> "list[Timed]":
    """Return what models are timed on."""
    from edgecompile.profile.choose_feeds import choose_feeds

    wishes = prepared.recipe.profile.sequence
    return choose_feeds(prepared.model, prepared.data.golden, wishes, prepared.longest)


def _tokens(prepared: Prepared) -> list[int]:
    """Return the lengths of text that smoke.py may time; none where shapes are fixed."""
    from edgecompile.data.limits import takes_any_length

    feeds = _timed_feeds(prepared)
    if any(timed.phase for timed in feeds) or not takes_any_length(prepared.model):
        return []
    return [timed.sequence for timed in feeds]


def _plan_table(model: "ir.Model", plan: Plan) -> dict[str, Any]:
    """Return the plan without its vectors: each activation's range, each Linear's rung and why."""
    from edgecompile.graph import linears

    activations = {
        name: {"low": a.low, "high": a.high, "alpha": a.alpha}
        for name, a in plan.activations.items()
        if not plan.weights
    }
    rungs = {linear.name: asdict(rung_of(plan, linear)) for linear in linears(model.graph)}
    outputs = {name: {"low": y.low, "high": y.high} for name, y in plan.outputs.items()}
    return {
        "lowest": plan.lowest,
        "activations": activations,
        **({"outputs": outputs} if outputs else {}),
        "linears": rungs,
        "embeddings": plan.embeddings or "float",
    }
