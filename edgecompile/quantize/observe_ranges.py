"""Run samples through the float graph and keep, by channel, what its Linears read.

One streaming pass: nothing but a minimum, a maximum and a sum by channel outlives a sample, so
memory does not depend on their number. Padding is left out.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed, valid_tokens
from edgecompile.errors import DataError
from edgecompile.graph import FloatArray, linears
from edgecompile.session import run, session
from edgecompile.valid_rows import valid_rows


@dataclass(slots=True)
class Observed:
    """Minimum, maximum and sum over tokens of one activation, each [C], and the tokens seen."""

    low: FloatArray
    high: FloatArray
    total: FloatArray
    tokens: int

    @property
    def peak(self) -> FloatArray:
        """Return the largest magnitude by channel, [C]."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def mean(self) -> FloatArray:
        """Return the mean by channel, [C]."""
        return (self.total / self.tokens).astype(np.float32)

    def add(self, rows: FloatArray) -> None:
        """Take in more tokens, [tokens, C]."""
        np.minimum(self.low, rows.min(axis=0), out=self.low)
        np.maximum(self.high, rows.max(axis=0), out=self.high)
        self.total += rows.sum(axis=0)
        self.tokens += len(rows)


def observe_ranges(
    model: ir.Model, feeds: Iterable[Feed], *, outputs: bool = False
) -> dict[str, Observed]:
    """Return what each Linear's input showed, and its output if asked, by tensor.

    `model` must be in a form that onnxruntime runs; for outputs, its Linears must be apart.
    """
    every = list(linears(model.graph))
    seen = {str(linear.x.name) for linear in every}
    seen |= {str(linear.y.name) for linear in every} if outputs else set()
    names = sorted(seen)
    observed: dict[str, Observed] = {}
    for name, rows in observed_rows(model, names, feeds):
        if name not in observed:
            width = rows.shape[1]
            infinity = np.full(width, np.inf, np.float32)
            observed[name] = Observed(infinity, -infinity, np.zeros(width), 0)
        observed[name].add(rows)
    return observed


def observed_rows(
    model: ir.Model, names: Sequence[str], feeds: Iterable[Feed]
) -> Iterator[tuple[str, FloatArray]]:
    """Yield what each tensor holds for each feed, [valid tokens, C], one tensor at a time."""
    if not names:
        return
    opened = session(model, outputs=names)
    for number, feed in enumerate(feeds, 1):
        valid = valid_tokens(feed)
        for name, array in zip(names, run(opened, names, feed, number), strict=True):
            rows = valid_rows(array, valid)
            if not len(rows):
                msg = f"calibration sample {number} holds no token that is not padding"
                raise DataError(msg)
            if not np.isfinite(rows).all():
                msg = f"tensor '{name}' became NaN or infinite in float: the model or data is bad"
                raise DataError(msg)
            yield name, rows
