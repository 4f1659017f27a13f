"""How an artifact answers on a CPU that this host emulates, and how that counts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgecompile.evaluate.accuracy import Accuracy

if TYPE_CHECKING:
    from edgecompile.graph import FloatArray

Answers = Sequence[Sequence["FloatArray"]]


@dataclass(frozen=True, slots=True)
class Emulated:
    """How an artifact answers there, and how the same samples `here`, on this host.

    `on` says what is emulated: "without VNNI", "on a cortex-a53".
    """

    accuracy: Accuracy
    here: Accuracy
    how: str
    on: str = "without VNNI"


def worse(found: Accuracy, emulated: Emulated | str) -> Accuracy:
    """Return what was measured, less what the same samples lose where it is emulated.

    Few samples are emulated: their own mean would lie below a gate, or above it, by their choice.
    Where all are, this is the worse of the two. What is not emulated has a reason, and loses
    nothing.
    """
    if isinstance(emulated, str):
        return found
    there, here = emulated.accuracy, emulated.here
    return replace(
        found,
        mean=found.mean - max(0.0, here.mean - there.mean),
        min=min(found.min, there.min),
        signal=found.signal - max(0.0, here.signal - there.signal),
    )


def table(emulated: Emulated | str) -> Mapping[str, Any]:
    """Return it as the manifest keeps it, or the reason why there is nothing to keep."""
    if isinstance(emulated, str):
        return {"skipped": emulated}
    here = {key: getattr(emulated.here, key) for key in ("mean", "min", "signal")}
    said = {"here": here, "kind": "emulated", "on": emulated.on, "how": emulated.how}
    return asdict(emulated.accuracy) | said
