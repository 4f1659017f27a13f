"""What a training is given, what changes while it runs, what a user sees, what comes out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecompile.distill.batches import Samples
from edgecompile.distill.losses import Weights
from edgecompile.plan import FLOAT, Plan
from edgecompile.recipe import DistillTable

LOG = "log.jsonl"
Narrow = Callable[[ir.Model, float], ir.Model | None]
"""(the student's graph with its weights, the share of steps done) -> a narrower graph, or None."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be trained, with what, by which recipe, and where it is kept.

    `plan` gives the int8 plan of a student where training is quantization-aware.
    """

    teacher: ir.Model
    student: ir.Model
    samples: Samples
    held: Samples
    table: DistillTable
    folder: Path
    plan: Callable[[ir.Model], Plan] = lambda _: FLOAT
    narrow: Narrow = lambda _model, _done: None

    @property
    def weights(self) -> Weights:
        """Return the weight of each loss."""
        t = self.table
        label = t.label if self.samples.labels is not None else 0.0
        return Weights(t.outputs, t.hidden, t.attention, label, t.temperature)


@dataclass(frozen=True, slots=True)
class Moment:
    """What a user sees of a training: `row` is the last line of the log.

    `speed` counts `counted`, tokens or samples, a second.
    """

    step: int
    steps: int
    loss: float
    speed: float
    counted: str
    left_s: float
    metric: str
    row: Mapping[str, Any]
    evaluated: bool


Tell = Callable[[Moment], None]


@dataclass(slots=True)
class State:
    """What changes, and is in a checkpoint besides weights and moments.

    `updates` counts those of the optimizer since it was made; `narrowed` is the step after which
    the student last lost units, `sums` add up losses since the last evaluation.
    """

    step: int = 0
    updates: int = 0
    narrowed: int = 0
    best_step: int = 0
    best: list[float] = field(default_factory=lambda: [-math.inf, -math.inf])
    sums: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return all but the step."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "step"}


@dataclass(frozen=True, slots=True)
class Trained:
    """The student that got nearest, and the log."""

    model: ir.Model
    metric: str
    best_step: int
    history: list[dict[str, Any]]
