"""The accuracy gate: what is asked of an artifact, and what it lacks."""

import math
from typing import TYPE_CHECKING

from edgecompile.prepare import Prepared

if TYPE_CHECKING:
    from edgecompile.evaluate.accuracy import Accuracy
    from edgecompile.evaluate.without_vnni import Emulated


def floor_of(prepared: Prepared, found: "Accuracy") -> float:
    """Return what the mean score must reach."""
    gate = prepared.recipe.gate
    return {
        "cosine": gate.cosine_mean,
        "agreement": gate.agreement,
        "next-token": gate.next_token,
        "signal": gate.signal,
    }[found.metric]


def passes_gate(prepared: Prepared, found: "Accuracy") -> bool:
    """Say whether an artifact may be shipped."""
    return found.mean >= floor_of(prepared, found) and found.signal >= prepared.recipe.gate.signal


def shortfall(prepared: Prepared, found: "Accuracy", emulated: "Emulated | str") -> str:
    """Say what lies below the gate, by how much, and whether only so without VNNI."""
    from edgecompile.evaluate.without_vnni import worse

    without = ""
    if not isinstance(emulated, str) and passes_gate(prepared, found):
        found = worse(found, emulated)
        without = f" without VNNI (emulated on {emulated.accuracy.samples} of them)"
    what, value, wanted = found.metric, found.mean, floor_of(prepared, found)
    if value >= wanted:
        what, value, wanted = "signal (R^2)", found.signal, prepared.recipe.gate.signal
    where = f"on {found.samples} {prepared.data.judges}{without}"
    return f"{what} to float is {down(value)} {where}, the gate wants {wanted:.4f}"


def down(score: float) -> str:
    """Write a score so that it never looks like the floor that it missed."""
    return f"{math.floor(score * 1e4) / 1e4:.4f}"
