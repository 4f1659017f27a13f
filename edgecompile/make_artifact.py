"""A target's artifact: lowered, emitted and judged, with more precision where the gate asks."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import engines
from edgecompile.attempt import Attempt, attempt, emit
from edgecompile.cache.cached import Cache
from edgecompile.errors import GateError
from edgecompile.gate import down, passes_gate, shortfall
from edgecompile.plan import Plan
from edgecompile.prepare import Prepared, Shared
from edgecompile.scratch import scratch_folder
from edgecompile.stages import lower
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.ladder import Ask
    from edgecompile.step import Step


@dataclass(frozen=True, slots=True)
class Artifact:
    """The try that passed the gate, the target in the profile that it took, the steps to it.

    `climbed` is what the manifest says of the ladder, where it was climbed.
    """

    board: Target
    tried: Attempt
    climbed: Mapping[str, Any]
    steps: "Sequence[Step]"


def make_artifact(board: Target, shared: Shared, folder: Path, cache: Cache) -> Artifact:
    """Put a target's artifact into `folder`; raise GateError where none is accurate enough."""
    from edgecompile.cache.keep_artifact import read_artifact, write_artifact

    def make() -> Artifact:
        prepared, start = shared.prepared(), len(cache.trace.steps)
        prepared = replace(prepared, plan=_observed(board, prepared, shared, cache))
        boards = engines.profiles(board)
        tried, passing = _first_that_passes(boards, prepared, folder, cache.trace)
        climbed: dict[str, Any] = {}
        if not passes_gate(prepared, tried.worse) and prepared.plan.activations:
            tried, climbed = _climb(passing, prepared, tried, folder, cache.trace)
        return Artifact(passing, tried, climbed, cache.trace.steps[start:])

    return cache.cached(
        "artifact",
        f"{board.name}: the artifact",
        shared.keys.artifact(board),
        make,
        lambda made, kept: write_artifact(made, folder, kept),
        lambda kept: read_artifact(kept, folder, board),
    )


def _observed(board: Target, prepared: Prepared, shared: Shared, cache: Cache) -> Plan:
    """Return the plan as the target's engine takes it, with what that engine observes itself."""
    from edgecompile.cache.keep_plan import read_plan, write_plan

    plan = engines.fit_plan(prepared.plan, board)
    if not engines.observes(plan, board):
        return plan
    return cache.cached(
        "observe",
        f"{board.name}: what {board.engine} observes",
        shared.keys.observed(board, plan.embeddings),
        lambda: engines.observe(plan, board, prepared.model, prepared.data.calibration),
        write_plan,
        read_plan,
    )


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
        with scratch_folder() as scratch:
            lowered = lower(prepared.model, plan, board)
            run = engine.runner(scratch / engine.write(lowered, scratch, {})[0])
            return [run(feed) for feed in feeds]

    return ask
