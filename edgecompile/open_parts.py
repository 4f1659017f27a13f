"""The parts of a model, with what their data holds: exported when a stage needs them."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from edgecompile.export_model import canonicalise, export_model
from edgecompile.recipe import Recipe
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.export.read_model import Source
    from edgecompile.parts import Part
    from edgecompile.step import Step


@dataclass(frozen=True, slots=True)
class OpenPart:
    """A part, its canonical graph, its longest sequence, what its data holds, and how it came."""

    part: "Part"
    model: "ir.Model"
    longest: int
    given: "Dataset"
    steps: "Sequence[Step]"


class OpenParts:
    """All parts of a model: it is exported once, and only if one of them is opened."""

    def __init__(self, source: "Source", recipe: Recipe, trace: Trace) -> None:
        """Name the model; nothing is read yet."""
        self.source, self.recipe, self.trace = source, recipe, trace
        self._opened: dict[int, OpenPart] = {}

    def names(self) -> list[str]:
        """Return the parts' names, the encoder's first."""
        return [part.name for part in self._exported[0]]

    def open(self, index: int) -> OpenPart:
        """Return a part; one that follows the encoder reads the encoder's data."""
        from edgecompile.data.dataset import choose_data
        from edgecompile.data.limits import longest_sequence

        if index in self._opened:
            return self._opened[index]
        parts, exported = self._exported
        part = parts[index]
        given = self.open(index - 1).given if part.follows and index else None
        if part.name:
            self.trace.say("part", f"{part.name}, of {', '.join(self.names())}")
        start = len(self.trace.steps)
        model = canonicalise(self.source, part, self.trace)
        longest = longest_sequence(model, self.recipe.shapes.sequence[1])
        if given is None:
            given = choose_data(self.recipe, part.front(model), self.source.folder, longest)
            for warning in given.warnings:
                self.trace.say("warning", warning)
        steps = [*exported, *self.trace.steps[start:]]
        self._opened[index] = OpenPart(part, model, longest, given, steps)
        return self._opened[index]

    @cached_property
    def _exported(self) -> "tuple[list[Part], Sequence[Step]]":
        start = len(self.trace.steps)
        parts = export_model(self.source, self.trace)
        return parts, self.trace.steps[start:]
