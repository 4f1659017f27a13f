"""What a model takes, and whether a sample is that; what is not is named in one line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.data.limits import IDS, longest_sequence, table_rows
from edgecompile.errors import DataError

if TYPE_CHECKING:
    import onnx_ir as ir

TOKENS = ("input_ids", "attention_mask", "token_type_ids")
"""The inputs of a text model, all of one shape [1, S]; a model may take fewer."""
UNBOUNDED = 10**9


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its type, its dimensions (None where any size will do), its table's rows.

    A type or shape that the graph does not tell is None, and then is not checked.
    """

    dtype: np.dtype[Any] | None
    shape: Sequence[int | None] | None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """A model's inputs by name, in its order, and how many tokens it takes at most."""

    inputs: Mapping[str, Input]
    longest: int = UNBOUNDED

    def check_form(
        self, place: str, forms: Mapping[str, tuple[np.dtype[Any], Sequence[int]]]
    ) -> None:
        """Check names, types and shapes; axis 0 counts samples, and is not looked at."""
        if sorted(forms) != sorted(self.inputs):
            msg = f"{place}: holds {sorted(forms)} but the model's inputs are {sorted(self.inputs)}"
            raise DataError(msg)
        for name, wanted in self.inputs.items():
            dtype, shape = forms[name]
            if wanted.dtype is not None and dtype != wanted.dtype:
                msg = f"{place}: input '{name}' is {dtype}, the model takes {wanted.dtype}"
                raise DataError(msg)
            if not _fits(shape, wanted.shape):
                takes = ["?" if size is None else size for size in wanted.shape or ()]
                msg = (
                    f"{place}: input '{name}' has shape {list(shape)}, the model takes"
                    f" [{', '.join(map(str, takes))}]"
                )
                raise DataError(msg)
            if wanted.shape and wanted.shape[0] not in (None, 1):
                msg = (
                    f"input '{name}' has a fixed batch of {wanted.shape[0]}, samples come one by"
                    " one; export with a batch of 1 or a dynamic one"
                )
                raise DataError(msg)

    def check(self, place: str, feed: Feed) -> Feed:
        """Return one sample as it is, if the model can take it."""
        self.check_form(place, {name: (a.dtype, a.shape) for name, a in feed.items()})
        for name, array in feed.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                msg = f"{place}: input '{name}' holds NaN or infinity"
                raise DataError(msg)
            rows = self.inputs[name].rows
            if rows is not None and array.size and (array.min() < 0 or array.max() >= rows):
                msg = (
                    f"{place}: {name} run from {array.min()} to {array.max()}, the table has"
                    f" {rows} row{'s' * (rows != 1)}"
                )
                raise DataError(msg)
        if "input_ids" in feed and feed["input_ids"].ndim == 2:
            self._check_tokens(place, feed)
        return feed

    def _check_tokens(self, place: str, feed: Feed) -> None:
        ids, mask = feed["input_ids"], feed.get("attention_mask")
        if not 1 <= ids.shape[1] <= self.longest:
            takes = "at least 1" if self.longest == UNBOUNDED else f"1 to {self.longest}"
            msg = f"{place}: input_ids are {ids.shape[1]} tokens long, the model takes {takes}"
            raise DataError(msg)
        shapes = {name: list(feed[name].shape) for name in TOKENS if name in feed}
        if any(shape != list(ids.shape) for shape in shapes.values()):
            msg = f"{place}: token inputs differ in shape: {shapes}"
            raise DataError(msg)
        if mask is not None and not np.isin(mask, (0, 1)).all():
            msg = f"{place}: attention_mask holds other numbers than 0 and 1"
            raise DataError(msg)
        if mask is not None and not mask.any():
            msg = f"{place}: attention_mask is all 0"
            raise DataError(msg)


def _fits(shape: Sequence[int], wanted: Sequence[int | None] | None) -> bool:
    if wanted is None:
        return True
    return len(shape) == len(wanted) and all(
        want is None or want == have for want, have in zip(wanted[1:], shape[1:], strict=True)
    )


def signature_of(model: "ir.Model") -> Signature:
    """Return what a model takes."""
    inputs = {}
    for value in model.graph.inputs:
        name = str(value.name)
        dtype = value.dtype.numpy() if value.dtype is not None else None
        shape = None
        if value.shape is not None:
            shape = [size if isinstance(size, int) else None for size in value.shape]
        inputs[name] = Input(dtype, shape, table_rows(model, name) if name in IDS else None)
    return Signature(inputs, longest_sequence(model, UNBOUNDED))
