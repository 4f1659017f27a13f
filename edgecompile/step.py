"""One line of a manifest's "steps"."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One pass that ran: a line of the manifest. Bytes are those of the initializers."""

    stage: str
    name: str
    seconds: float
    ops: int
    bytes: int
