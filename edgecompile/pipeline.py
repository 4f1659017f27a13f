"""The stages, in order.

Once for all targets (prepare.py):    export, canonicalise, prune, ask the float model, quantize
For each target (compile_target.py):  lower, emit, evaluate, climb the ladder if need be, profile
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgecompile import engines, fastest, files, target
from edgecompile.compile_target import Bundle, compile_target
from edgecompile.one_thread import in_one_order
from edgecompile.prepare import prepare, prepare_parts
from edgecompile.recipe import Recipe
from edgecompile.stages import lower
from edgecompile.trace import Trace

__all__ = ["Bundle", "Trace", "build", "lower", "prepare"]


@in_one_order
def build(
    model: Path, targets: Sequence[str], output: Path, recipe: Recipe, trace: Trace
) -> Iterator[Bundle]:
    """Compile a model for each target; yield each bundle as soon as it stands."""
    from edgecompile.energy.carbon import read_grid
    from edgecompile.export.read_model import find_source

    if recipe.profile.country:
        read_grid(recipe.profile.country)  # a missing table or a wrong word is told at once
    wanted = [target.load_each(name) for name in dict.fromkeys(targets)]
    for boards in wanted:
        fastest.check_runs(boards, recipe.quantize.scheme)
    source = find_source(model)
    for boards in wanted:
        for board in boards:
            engines.open_toolchain(board, trace.say)
    with files.output_folder(output):
        every = [board for boards in wanted for board in boards]
        fitted = engines.fit_recipe(every, recipe)
        if fitted is not recipe:
            cut = f"texts are cut at {fitted.shapes.sequence[1]} tokens, as NPUs have fixed shapes"
            trace.say("warning", f"{cut}; [shapes] buckets says otherwise")
        recipe = fitted
        outputs = any(map(engines.rounds_outputs, every))
        first = wanted[0][0]
        for prepared in prepare_parts(source, recipe, trace, first, outputs=outputs):
            for boards in wanted:
                folder = output / f"{prepared.name}-{boards[0].folder}"
                with files.staged_folder(folder) as scratch:
                    bundle = compile_target(boards, prepared, scratch, trace)
                yield replace(bundle, folder=folder)
