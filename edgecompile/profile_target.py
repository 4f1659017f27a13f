"""Time a target's artifact against the dense model, where this computer can run both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.prepare import Prepared
from edgecompile.scratch import scratch_folder
from edgecompile.stages import run_stage
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from edgecompile.fastest import Timed as TimedEngine
    from edgecompile.profile.choose_feeds import Timed


def profile_target(
    board: Target, prepared: Prepared, artifact: Sequence[Path], trace: Trace
) -> dict[str, Any]:
    """Time the artifact against the dense model in the form in which other tools export it.

    `artifact` are its files, the one to load first.
    """
    from edgecompile.emit import onnxruntime
    from edgecompile.energy.energy_numbers import with_energy
    from edgecompile.host import read_host, why_not
    from edgecompile.profile.profile_host import Graphs, profile_host

    reason = why_not(read_host(), board)
    doing = f"not timed: {reason}" if reason else "timing float, dynamic int8 and artifact in turn"
    trace.say("profile", f"{board.name}: {doing}")
    with scratch_folder() as scratch:
        plain = run_stage("lower/exchange", prepared.dense, {}, None)
        names = onnxruntime.write(plain, scratch, {}, one_file_bytes=0)
        feeds = timed_feeds(prepared)
        models = {"float": [scratch / name for name in names], "artifact": artifact}
        graphs = Graphs(prepared.dense, prepared.model)
        profile = profile_host(board, models, graphs, feeds, prepared.recipe.profile.repeats)
    wishes = prepared.recipe.profile
    return with_energy(profile, board, country=wishes.country, a_day=wishes.inferences_a_day)


def time_in_turn(
    artifacts: Mapping[str, Path], engine_of: Mapping[str, str], prepared: Prepared
) -> "Mapping[str, TimedEngine]":
    """Time artifacts of engines, or of graph forms, in turn."""
    from edgecompile.profile.time_engines import time_engines

    timed = max(timed_feeds(prepared), key=lambda t: t.sequence)
    return time_engines(artifacts, engine_of, timed, prepared.recipe.profile.repeats)


def timed_feeds(prepared: Prepared) -> "list[Timed]":
    """Return what models are timed on."""
    from edgecompile.profile.choose_feeds import choose_feeds

    wishes = prepared.recipe.profile.sequence
    return choose_feeds(prepared.model, prepared.data.golden, wishes, prepared.longest)


def timed_tokens(prepared: Prepared) -> list[int]:
    """Return the lengths of text that smoke.py may time; none where shapes are fixed."""
    from edgecompile.data.limits import takes_any_length

    feeds = timed_feeds(prepared)
    if any(timed.phase for timed in feeds) or not takes_any_length(prepared.model):
        return []
    return [timed.sequence for timed in feeds]
