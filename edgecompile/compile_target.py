"""One target of a build: its artifact, bundle and report; of several engines, the fastest."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecompile import engines, fastest
from edgecompile.cache.cached import Cache
from edgecompile.fill_bundle import Bundle, fill_bundle
from edgecompile.make_artifact import make_artifact
from edgecompile.prepare import Prepared, Shared
from edgecompile.profile_target import time_in_turn
from edgecompile.scratch import scratch_folder
from edgecompile.search_forms import search_forms, stated_forms
from edgecompile.stages import lower
from edgecompile.target import Target
from edgecompile.trace import Trace

__all__ = ["Bundle", "compile_target"]


def compile_target(boards: Sequence[Target], shared: Shared, folder: Path, cache: Cache) -> Bundle:
    """Fill `folder` for a target: with its one engine, or with the fastest of several."""
    from edgecompile.bundles.add_sbom import add_sbom
    from edgecompile.bundles.report_bundles import add_report
    from edgecompile.cache.keep_bundle import read_bundle, write_bundle

    bundle = cache.cached(
        "bundle",
        f"{boards[0].name}: the bundle with its times",
        shared.keys.bundle(boards),
        lambda: add_sbom(_compile(boards, shared, folder, cache), cache.trace),
        write_bundle,
        lambda kept: read_bundle(kept, folder, shared.keys.recipe),
    )
    return add_report(bundle, cache)


def _compile(boards: Sequence[Target], shared: Shared, folder: Path, cache: Cache) -> Bundle:
    prepared, trace = shared.prepared(), cache.trace
    boards = [engines.fit_lengths(board, prepared.recipe, prepared.longest) for board in boards]

    def compile_into(board: Target, place: Path) -> Bundle:
        forms = stated_forms(board)
        if len(boards) > 1:  # one alone was checked before any work
            engines.check_scheme(board, prepared.recipe.quantize.scheme)
            board, forms = _search(board, prepared, trace)
        artifact = make_artifact(board, shared, place, cache)
        return fill_bundle(artifact, forms, prepared, place, trace)

    def time_engines(artifacts: Mapping[str, Path]) -> "Mapping[str, fastest.Timed]":
        trace.say("profile", f"{boards[0].name}: timing {', '.join(artifacts)} in turn")
        return time_in_turn(artifacts, {name: name for name in artifacts}, prepared)

    if len(boards) == 1:
        return compile_into(boards[0], folder)
    return fastest.compile_fastest(boards, folder, compile_into, time_engines)


def _search(board: Target, prepared: Prepared, trace: Trace) -> tuple[Target, list[dict[str, Any]]]:
    """Time an engine's graph forms on the artifact; keep the fastest."""

    def emit(variant: Target, place: Path) -> Path:
        lowered = lower(prepared.model, prepared.plan, variant)
        return place / str(engines.engine(variant.engine).write(lowered, place, {})[0])

    def time_forms(artifacts: Mapping[str, Path]) -> Mapping[str, float]:
        times = time_in_turn(artifacts, dict.fromkeys(artifacts, board.engine), prepared)
        return {name: float(row["ms"]) for name, row in times.items()}

    trace.say("lower", f"{board.name}: timing graph forms of {board.engine} in turn")
    with scratch_folder() as scratch:
        return search_forms(board, scratch, emit, time_forms)
