"""The stages, in order. Each is taken from the cache where the same was made before.

Once for all targets (prepare.py):    export, canonicalise, prune, ask the float model   "float"
                                      calibrate, decide                                  "plan"
For each target (compile_target.py):  observe what its engine rounds                     "observe"
                                      lower, emit, evaluate, climb the ladder if need be "artifact"
                                      profile, golden answers, records                   "bundle"
                                      report                                             "report"
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgecompile import engines, fastest, files, scratch, target
from edgecompile.cache.cached import Cache
from edgecompile.cache.inputs import read_inputs, read_model_inputs
from edgecompile.cache.keys import Keys
from edgecompile.cache.store import Store
from edgecompile.compile_target import Bundle, compile_target
from edgecompile.one_thread import in_one_order
from edgecompile.prepare import prepare, share_parts
from edgecompile.recipe import Recipe
from edgecompile.stages import lower
from edgecompile.trace import Trace

__all__ = ["Bundle", "Trace", "build", "lower", "prepare"]


@in_one_order
def build(
    model: Path,
    targets: Sequence[str],
    output: Path,
    recipe: Recipe,
    trace: Trace,
    *,
    store: Store | None = None,
    fresh: bool = False,
) -> Iterator[Bundle]:
    """Compile a model for each target; yield each bundle as soon as it stands.

    `store` keeps finished stages, for later builds; where `fresh`, none is taken from there. A
    build that dumps its graphs makes them all.
    """
    from edgecompile.energy.carbon import read_grid
    from edgecompile.export.read_model import find_source

    if recipe.profile.country:
        read_grid(recipe.profile.country)  # a missing table or a wrong word is told at once
    wanted = [target.load_each(name) for name in dict.fromkeys(targets)]
    for boards in wanted:
        fastest.check_runs(boards, recipe.quantize.scheme)
    source = find_source(model)
    every = [board for boards in wanted for board in boards]
    for board in every:
        engines.open_toolchain(board, trace.say)
    scratch.sweep()
    if store is not None:
        store.sweep()
    with files.output_folder(output):
        kept = store if trace.dump is None else None
        inputs = read_inputs(source, recipe) if kept else read_model_inputs(source)
        cache = Cache(trace, kept, read=not fresh, sound=inputs.unchanged)
        fits = [_fit(boards, recipe, trace) for boards in wanted]
        lengths = {fitted.shapes.sequence: fitted for fitted in fits}
        keys = [Keys(source, "", inputs, fitted, every[0]) for fitted in lengths.values()]
        for parts in zip(*(share_parts(key, cache) for key in keys), strict=True):
            part_of = dict(zip(lengths, parts, strict=True))
            for boards, fitted in zip(wanted, fits, strict=True):
                part = part_of[fitted.shapes.sequence]
                shared = part[any(map(engines.rounds_outputs, boards))]
                folder = output / f"{shared.name}-{boards[0].folder}"
                with files.staged_folder(folder) as staged:
                    bundle = compile_target(boards, shared, staged, cache)
                yield replace(bundle, folder=folder)


def _fit(boards: Sequence[target.Target], recipe: Recipe, trace: Trace) -> Recipe:
    """Return the recipe as a target can take it."""
    fitted = engines.fit_recipe(boards, recipe)
    if fitted is not recipe:
        cut = f"{boards[0].name}: texts are cut at {fitted.shapes.sequence[1]} tokens"
        trace.say("warning", f"{cut}, as NPUs have fixed shapes; [shapes] buckets says otherwise")
    return fitted
