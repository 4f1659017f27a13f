"""What a build would do, in order, before anything runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecompile import passes, target
from edgecompile.facts import sentence
from edgecompile.host import read_host, why_not
from edgecompile.recipe import Recipe

PARTS = (
    "Take apart: encoder, decoder and, where it reads a cache, decoder-with-past; each goes through"
    " all that follows and gets a bundle"
)


def preview(model: Path, names: list[str], recipe: Recipe | None = None) -> list[dict[str, Any]]:
    """Return the steps of a build: stage, step, what it does, needs, gives."""
    from edgecompile.export.optimum import has_decoder
    from edgecompile.export.read_model import find_source, routes

    source = find_source(model)
    rows = [_row("export", source.route, routes()[source.route])]
    if source.route == "optimum" and source.config is not None and has_decoder(source.config):
        rows.append(_row("export", "parts", PARTS))
    if source.route != "native":
        rows += _passes("canonicalise")
    if recipe is not None and (corpus := recipe.prune.vocabulary):
        does = f"Cut the tokens that {corpus} never uses: table rows, and tokenizer.json"
        rows.append(_row("prune", "cut-vocabulary", does))
    if recipe is not None and recipe.distils:
        rows.append(_row("distill", "read-student", f"Take what {recipe.distill.student} holds"))
    elif recipe is not None and recipe.prune.cuts_units:
        rows += [
            _row("prune", "survey-groups", "Measure what each group of channels and heads loses"),
            _row("prune", "cut-and-repair", "Cut group by group, fit what is left"),
        ]
    rows += [
        _row("quantize", "observe-ranges", "Run calibration samples; keep ranges by channel"),
        _row("quantize", "decide-plan", "Choose ranges, equalising factors, what stays float"),
    ]
    for board in [board for name in names for board in target.load_each(name)]:
        rows += _passes(f"lower/{board.engine}")
        rows += [
            _row("emit", board.engine, f"Write the artifact for {board.name}"),
            _row("evaluate", "accuracy", "Run it on golden samples; the gate judges"),
            _row("profile", "host", _timing(board)),
        ]
    return rows


def _timing(board: target.Target) -> str:
    reason = why_not(read_host(), board)
    return f"Not timed: {reason}" if reason else "Time float, dynamic int8 and artifact in turn"


def _passes(stage: str) -> Iterator[dict[str, Any]]:
    for p in passes.in_order(passes.passes_of(stage)):
        does = (p.run.__doc__ or "").partition("\n")[0]
        needs, gives = (sorted(sentence(f) for f in facts) for facts in (p.needs, p.gives))
        yield _row(stage, p.name, does, needs, gives)


def _row(
    stage: str, step: str, does: str, needs: list[str] | None = None, gives: list[str] | None = None
) -> dict[str, Any]:
    return {"stage": stage, "step": step, "does": does, "needs": needs or [], "gives": gives or []}
