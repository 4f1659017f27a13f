"""A canonical graph -> the float model of a build: pruned, and what the dense one answers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecompile.export_model import check_same, pooled
from edgecompile.plan import FLOAT
from edgecompile.prepare import Prepared
from edgecompile.recipe import Recipe
from edgecompile.stages import lower_float
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir

    from edgecompile.export.read_model import Source
    from edgecompile.open_parts import OpenPart


def prepare_float(  # noqa: PLR0917 - a part of a model, what is wished for, whom to tell
    source: "Source",
    opened: "OpenPart",
    inputs: Mapping[str, str],
    recipe: Recipe,
    trace: Trace,
    board: Target | None,
) -> Prepared:
    """Prune, and run the float model; `inputs` are the hashes of the model's files.

    Budgets of [prune] are spent on `board`.
    """
    from edgecompile.data.encoder import TOKENIZER
    from edgecompile.gate import check_pruned
    from edgecompile.narrow.prune_units import prune_units
    from edgecompile.narrow.prune_vocabulary import prune_vocabulary
    from edgecompile.narrow.read_student import read_student
    from edgecompile.narrow.spend_on_target import aim_of
    from edgecompile.parts import complete_data
    from edgecompile.session import answer, session

    part, given, longest = opened.part, opened.given, opened.longest
    dense = model = opened.model
    data = given if part.complete is None else complete_data(given, part.complete)
    golden = data.golden
    folder = recipe.path(recipe.model.tokenizer) if recipe.model.tokenizer else source.folder
    tokenizer = _read_tokenizer(folder / TOKENIZER, model)
    vocabulary: Mapping[str, Any] = {}
    pruning: Mapping[str, Any] = {}
    if recipe.distils:
        trace.say("distill", f"reading the trained student in {recipe.distill.student}")
        model, pruning = read_student(source, recipe)
    if recipe.prune.vocabulary:
        cut = prune_vocabulary(
            model, part, data, folder=folder, longest=longest, recipe=recipe, trace=trace
        )
        model, tokenizer, vocabulary = cut.model, cut.tokenizer, cut.table
        data, golden = cut.data, cut.golden
    pruned = None
    if recipe.prune.cuts_units and not recipe.distils:
        aim = aim_of(recipe, board, model, data.golden, longest)
        pruned = prune_units(model, part, data, recipe.prune, trace, aim)
        model, data, pruning = pruned.model, pruned.own_data(part, given, data), pruned.table
    reference = lower_float(model)
    trace.say("evaluate", f"asking the float model for answers to {len(data.golden)} {data.judges}")
    native = source.route == "native"
    wide = reference if model is dense else lower_float(dense)
    expected = answer(session(wide if native else pooled(source, part)), golden)
    if not native:
        check_same(wide, expected, golden)
    if pruned is not None:
        expected = [pruned.narrow(answers) for answers in expected]
    prepared = Prepared(
        source=source,
        part=part,
        recipe=recipe,
        dense=dense,
        model=model,
        plan=FLOAT,
        data=data,
        expected=expected,
        longest=longest,
        inputs={**inputs, **data.hashes},
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        pruning=pruning,
    )
    if pruning or vocabulary.get("golden_outside"):
        check_pruned(prepared, answer(session(reference), data.golden), trace)
    return prepared


def _read_tokenizer(path: "Path", model: "ir.Model") -> bytes:
    """Return the tokenizer.json of a model that reads tokens."""
    reads = any(value.name == "input_ids" for value in model.graph.inputs)
    return path.read_bytes() if reads and path.is_file() else b""
