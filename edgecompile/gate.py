"""The accuracy gate: what is asked of an artifact, and what it lacks."""

import math
from typing import TYPE_CHECKING

from edgecompile.errors import GateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgecompile.evaluate.accuracy import Accuracy
    from edgecompile.evaluate.emulated import Emulated
    from edgecompile.graph import FloatArray
    from edgecompile.prepare import Prepared
    from edgecompile.trace import Trace


def floor_of(prepared: "Prepared", found: "Accuracy") -> float:
    """Return what the mean score must reach."""
    gate = prepared.recipe.gate
    return {
        "cosine": gate.cosine_mean,
        "agreement": gate.agreement,
        "next-token": gate.next_token,
        "signal": gate.signal,
    }[found.metric]


def passes_gate(prepared: "Prepared", found: "Accuracy") -> bool:
    """Say whether an artifact may be shipped."""
    return found.mean >= floor_of(prepared, found) and found.signal >= prepared.recipe.gate.signal


def shortfall(prepared: "Prepared", found: "Accuracy", emulated: "Emulated | str") -> str:
    """Say what lies below the gate, by how much, and whether only so where it is emulated."""
    from edgecompile.evaluate.emulated import worse

    there = ""
    if not isinstance(emulated, str) and passes_gate(prepared, found):
        found = worse(found, emulated)
        there = f" {emulated.on} (emulated on {emulated.accuracy.samples} of them)"
    what, value, wanted = found.metric, found.mean, floor_of(prepared, found)
    if value >= wanted:
        what, value, wanted = "signal (R^2)", found.signal, prepared.recipe.gate.signal
    where = f"on {found.samples} {prepared.data.judges}{there}"
    return f"{what} to float is {down(value)} {where}, the gate wants {wanted:.4f}"


def check_pruned(
    prepared: "Prepared", answers: "Sequence[Sequence[FloatArray]]", trace: "Trace"
) -> None:
    """Judge the pruned model while it is float: below the gate, no number format could help it.

    `answers` are its own to the golden samples. Says what was cut and what it costs; raises
    GateError.
    """
    from edgecompile.evaluate import accuracy

    golden, expected = prepared.data.golden, prepared.expected
    metric = accuracy.metric_of(prepared.outputs, expected[0])
    found = accuracy.compare(metric, answers, expected, golden, prepared.outputs)
    cut = prepared.vocabulary
    whats, hints = [], []
    if prepared.pruning:
        trace.say("prune", f"{found.metric} to float {down(found.mean)}, before any int8")
        whats.append("units were pruned")
        hints.append("prune less, distil (`edgecompile distill`), or lower the [gate]")
    if cut.get("golden_outside"):
        asked = f"{len(golden) + cut['golden_left_out']} {prepared.data.judges}"
        outside = f"{cut['golden_outside']} of {asked}"
        whats.append(f"{outside} have words that {cut['corpus']} never uses")
        hints.append("name [evaluate] data of the corpus, or add them to it")
        if passes_gate(prepared, found):
            trace.say("warning", f"{whats[-1]}; they are judged too: {hints[-1]}")
    if not passes_gate(prepared, found):
        missed = shortfall(prepared, found, "still float")
        why, next_step = "; ".join(whats), "; ".join(hints)
        msg = f"{missed}, before any number is int8: {why}; {next_step}"
        raise GateError(msg)


def down(score: float) -> str:
    """Write a score so that it never looks like the floor that it missed."""
    return f"{math.floor(score * 1e4) / 1e4:.4f}"
