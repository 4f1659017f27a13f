"""Equivalent graph forms, timed on the artifact itself: `-t TARGET:fastest` keeps the fastest.

A target's file says which forms to use, as measured on one machine; another may prefer others.
One kind of form is tried after the other, each with the best of those before it.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from edgecompile.target import Target, forms_of

MARGIN = 0.03
"""A form must be faster by this share than the file's: less may be the machine's noise."""


def search_forms(
    board: Target,
    scratch: Path,
    emit: Callable[[Target, Path], Path],
    time_in_turn: Callable[[Mapping[str, Path]], Mapping[str, float]],
) -> tuple[Target, list[dict[str, Any]]]:
    """Return the target with the fastest forms, and a row for each kind of form.

    `emit` writes the artifact of a target into a folder; `time_in_turn` takes artifacts by name
    and gives milliseconds.
    """
    rows = []
    for kind, known in forms_of(board.engine).items():
        if len(known) < 2:
            continue
        stated = str(getattr(board.forms, kind))
        tried = {f: replace(board, forms=replace(board.forms, **{kind: f})) for f in known}
        artifacts = {}
        for form, variant in tried.items():
            folder = scratch / f"{board.engine}-{kind}-{form}"
            folder.mkdir()
            artifacts[form] = emit(variant, folder)
        ms = time_in_turn(artifacts)
        best = min(ms, key=lambda form: ms[form])
        kept = best if ms[best] < (1 - MARGIN) * ms[stated] else stated
        board = tried[kept]
        why = "faster here" if kept != stated else "the target's file; none is faster here"
        rows.append({"kind": kind, "form": kept, "ms": dict(ms), "why": why})
    return board, rows


def stated_forms(board: Target) -> list[dict[str, Any]]:
    """Return the rows of forms that were not searched: the target's file chose them."""
    known = forms_of(board.engine)
    return [
        {"kind": kind, "form": form, "why": "the target's file"}
        for kind, form in asdict(board.forms).items()
        if len(known[kind]) > 1
    ]
