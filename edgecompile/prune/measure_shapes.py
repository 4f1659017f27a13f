"""The shape of every tensor, seen in a few small runs of different sizes.

Shape inference loses sizes where an exporter computed a shape; runs do not. An axis that has one
size in all runs is fixed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.errors import ModelError
from edgecompile.probe import sizes_for
from edgecompile.probe_feeds import random_feed, units
from edgecompile.session import answer, session
from edgecompile.stages import run_stage

Size = tuple[int, ...]
"""How long an axis was, in each run."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """The axes of each computed tensor, by name; None is what no run showed."""

    runs: int
    seen: Mapping[str, tuple[Size, ...]]

    def of(self, value: ir.Value) -> tuple[Size, ...] | None:
        """Return a tensor's axes."""
        if value.is_initializer() and value.const_value is not None:
            return tuple((int(size),) * self.runs for size in value.const_value.shape.numpy())
        return self.seen.get(str(value.name))


def fixed(size: Size) -> int | None:
    """Return the size of an axis that does not vary."""
    return size[0] if len(set(size)) == 1 else None


def measure_shapes(model: ir.Model) -> Shapes:
    """Run a canonical graph on small random inputs; fail where onnxruntime cannot."""
    lowered = run_stage("lower/exchange", model, {}, None)
    names = [str(value.name) for node in lowered.graph for value in node.outputs if value.name]
    opened = session(lowered, outputs=names, optimise=False)
    order = [output.name for output in opened.get_outputs()]
    failures: list[Exception] = []
    for unit in units(model):
        feeds = [random_feed(model, i, sizes, unit) for i, sizes in enumerate(sizes_for(model))]
        try:
            runs = [[array.shape for array in arrays] for arrays in answer(opened, feeds)]
        except Exception as error:  # a wave that is too short for this unit
            failures.append(error)
            continue
        seen = {name: _by_axis([run[i] for run in runs]) for i, name in enumerate(order)}
        seen |= {name: _by_axis([feed[name].shape for feed in feeds]) for name in feeds[0]}
        return Shapes(len(feeds), seen)
    msg = f"onnxruntime does not run this graph on small inputs: {failures[0]}"
    raise ModelError(msg) from failures[0]


def _by_axis(shapes: Sequence[Sequence[int]]) -> tuple[Size, ...]:
    return tuple(zip(*shapes, strict=True))
