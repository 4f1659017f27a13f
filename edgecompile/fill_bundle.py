"""All that goes into a bundle beside its artifact: profile, golden answers, records, manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import __version__, engines
from edgecompile.attempt import Attempt
from edgecompile.errors import GateError
from edgecompile.gate import floor_of
from edgecompile.make_artifact import Artifact
from edgecompile.origin import origin
from edgecompile.plan import Plan, rung_of
from edgecompile.prepare import Prepared
from edgecompile.profile_target import profile_target, timed_tokens
from edgecompile.recipe import BESIDE, Recipe
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

TRADE_OFF = "trade-off.svg"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One finished bundle: its folder, its manifest, its profile."""

    folder: Path
    manifest: Mapping[str, Any]
    profile: Mapping[str, Any]


def fill_bundle(
    artifact: Artifact,
    forms: Sequence[Mapping[str, Any]],
    prepared: Prepared,
    folder: Path,
    trace: Trace,
) -> Bundle:
    """Time the artifact that lies in `folder`, and write all that goes with it."""
    from edgecompile.emit import bundle as bundles

    board, tried = artifact.board, artifact.tried
    files = [folder / name for name in tried.names]
    profile = profile_target(board, prepared, files, trace)
    profile["numbers"] += engines.numbers(board, files[0])
    made, compiled = _finish(board, tried.names, folder, profile, trace)
    _check_size(board, prepared, folder, made)
    golden, expected = prepared.data.golden, prepared.expected
    kept = slice(0, bundles.how_many(golden, expected))
    names = [
        *made,
        *_draw_curve(prepared, folder, trace),
        bundles.write_golden(folder, prepared.outputs, golden[kept], expected[kept]),
        bundles.write_samples(folder, _describe(prepared, tried)),
        *bundles.write_smoke_test(folder, board.engine),
        *bundles.write_tokenizer(folder, prepared.tokenizer),
    ]
    manifest = _manifest(artifact, prepared, kept) | {
        "artifact": names[0],
        "forms": [dict(row) for row in forms],
        **({"compiled": compiled} if compiled else {}),
        "steps": [asdict(step) for step in (*prepared.steps, *artifact.steps)],
    }
    return Bundle(folder, bundles.write_manifest(folder, manifest, profile, names), profile)


def recipe_table(recipe: Recipe) -> dict[str, Any]:
    """Return what a manifest says of a recipe."""
    return {key: value for key, value in asdict(recipe).items() if key not in BESIDE}


def _manifest(artifact: Artifact, prepared: Prepared, kept: slice) -> dict[str, Any]:
    """Return what a manifest says of the model, the artifact and its accuracy.

    `kept` are the golden samples that the bundle holds.
    """
    from edgecompile.emit import bundle as bundles
    from edgecompile.evaluate import accuracy, emulated

    board, tried, found = artifact.board, artifact.tried, artifact.tried.accuracy
    engine, toolchain = engines.engine(board.engine), engines.toolchain_record(board)
    golden, expected = prepared.data.golden[kept], prepared.expected[kept]
    kind = engine.accuracy_kind or ("emulated" if engine.answer_all else "measured")
    judged = {"floor": floor_of(prepared, found), "kind": kind, "how": engine.how}
    seen = accuracy.compare(found.metric, tried.answers[kept], expected, golden, prepared.outputs)
    return {
        "schema": 1,
        "edgecompile": __version__,
        "model": prepared.name,
        "part": prepared.part.name,
        "target": board.name,
        "engine": board.engine,
        "runtime": board.runtime,
        "built_with": f"{board.engine} {engine.runtime_version()}",
        **({"toolchain": dict(toolchain)} if toolchain else {}),
        **origin(prepared, board.name, engine.package),
        "artifact": "",
        "accuracy": asdict(found) | judged,
        "accuracy_emulated": emulated.table(tried.emulated),
        "golden": {"file": bundles.GOLDEN, **asdict(seen), "tokens": timed_tokens(prepared)},
        "route": prepared.source.route,
        "recipe": recipe_table(prepared.recipe),
        "inputs": dict(prepared.inputs),
        "forms": [],
        "calibration": dict(prepared.data.calibrated),
        "evaluation": dict(prepared.data.judged),
        **({"vocabulary": dict(prepared.vocabulary)} if prepared.vocabulary else {}),
        **({"pruning": dict(prepared.pruning)} if prepared.pruning else {}),
        "quantization": {**_plan_table(prepared.model, tried.plan), **artifact.climbed},
    }


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
