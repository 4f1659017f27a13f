"""One try at a target's artifact: lower and emit a plan, run the file, say how good it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile import __version__, engines
from edgecompile.attachments import attachments
from edgecompile.errors import EmulationError
from edgecompile.gate import passes_gate
from edgecompile.plan import Plan
from edgecompile.prepare import Prepared
from edgecompile.stages import lower
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgecompile.data.feed import Feed
    from edgecompile.evaluate.accuracy import Accuracy
    from edgecompile.evaluate.emulated import Answers, Emulated
    from edgecompile.graph import FloatArray


@dataclass(frozen=True, slots=True)
class Attempt:
    """An artifact of one plan: its files, its answers to the golden samples, how good they are."""

    plan: Plan
    names: list[str]
    answers: "list[list[FloatArray]]"
    accuracy: "Accuracy"
    emulated: "Emulated | str"

    @property
    def worse(self) -> "Accuracy":
        """Return what the gate counts: the worse of what was measured and what was emulated."""
        from edgecompile.evaluate.emulated import worse

        return worse(self.accuracy, self.emulated)


def attempt(
    board: Target, prepared: Prepared, plan: Plan, folder: Path, trace: Trace | None
) -> Attempt:
    """Lower, emit and judge; without a trace, silently."""
    from edgecompile.evaluate import accuracy

    trace = trace or Trace()
    names = emit(board, prepared, plan, folder, trace)
    most = engines.engine(board.engine).judges
    golden = prepared.data.golden[:most]
    asked = f"{len(golden)} {prepared.data.judges}"
    trace.say("evaluate", f"{board.name}: running the artifact on {asked}")
    answers = engines.answer(board, folder / names[0], golden)
    metric = accuracy.metric_of(prepared.outputs, prepared.expected[0])

    def judge(given: "Answers") -> "Accuracy":
        kept = slice(0, len(given))
        truths = prepared.expected[kept]
        return accuracy.compare(metric, given, truths, golden[kept], prepared.outputs)

    found = judge(answers)
    emulated: Emulated | str = "what was measured here misses the gate"
    if passes_gate(prepared, found):
        if board.isa == "x86_64":
            emulated = _emulate(board, plan, folder / names[0], golden, answers, judge, trace)
        else:
            files = [folder / name for name in names]
            emulated = _emulate_board(board, prepared, files, answers, judge, trace)
    return Attempt(plan, names, answers, found, emulated)


def emit(board: Target, prepared: Prepared, plan: Plan, folder: Path, trace: Trace) -> list[str]:
    """Lower a plan and write its artifact; return the names of its files, the one to load first."""
    trace.say("lower", f"{board.name}: {board.engine}, opset {board.opset}")
    lowered = lower(prepared.model, plan, board, trace)
    config = prepared.source.config
    attached = attachments(prepared.tokenizer, config.values if config is not None else {})
    lowered.metadata_props.update(attached)
    with trace.step("emit", board.engine) as done:
        names = engines.engine(board.engine).write(lowered, folder, _metadata(board, plan))
        done(lowered)
    return names


def _emulate(  # noqa: PLR0917 - an artifact, and what judges it
    board: Target,
    plan: Plan,
    artifact: Path,
    golden: "Sequence[Feed]",
    answers: "Answers",
    judge: "Callable[[Answers], Accuracy]",
    trace: Trace,
) -> "Emulated | str":
    """Judge an int8 artifact without VNNI too, or return why not."""
    from edgecompile.evaluate.emulate_avx2 import find_qemu
    from edgecompile.evaluate.without_vnni import how_many, judge_without_vnni, why_not
    from edgecompile.host import read_host

    qemu = find_qemu()
    reason = why_not(read_host(), board, qemu) if plan.activations else "no Linear is int8"
    if reason is not None:
        return reason
    doing = f"running the artifact on {how_many(board, golden)} of them without VNNI, emulated"
    trace.say("evaluate", f"{board.name}: {doing}")
    try:
        return judge_without_vnni(qemu, board, artifact, golden, answers, judge)
    except EmulationError as error:
        trace.say("warning", f"{board.name}: not judged without VNNI: {error}")
        return str(error)


def _emulate_board(  # noqa: PLR0917 - an artifact, and what judges it
    board: Target,
    prepared: Prepared,
    files: "Sequence[Path]",
    answers: "Answers",
    judge: "Callable[[Answers], Accuracy]",
    trace: Trace,
) -> "Emulated | str":
    """Judge an artifact on its board's CPU, or return why not."""
    from edgecompile.host import read_host
    from edgecompile.judge_on_board import SAMPLES, judge_on_board, why_not

    wish = prepared.recipe.evaluate.emulate
    reason = why_not(read_host(), board, wish)
    if reason is not None or board.cpu is None:
        trace.say("evaluate", f"{board.name}: not judged on an emulated board: {reason}")
        return str(reason)
    kept = slice(0, SAMPLES)
    samples = (prepared.outputs, prepared.data.golden[kept], prepared.expected[kept])
    doing = f"running smoke.py with {len(samples[1])} of them on an emulated {board.cpu.name}"
    trace.say("evaluate", f"{board.name}: {doing}")
    try:
        return judge_on_board(board, files, samples, judge(answers[kept]), trace.say)
    except EmulationError as error:
        if wish == "always":
            raise
        trace.say("warning", f"{board.name}: not judged on its emulated board: {error}")
        return str(error)


def _metadata(board: Target, plan: Plan) -> dict[str, str]:
    """Return what the artifact says of itself: `inspect` reads it back."""
    import json

    kept = json.dumps(dict(plan.kept_float))
    return {"edgecompile": __version__, "edgecompile.target": board.name, "kept_float": kept}
