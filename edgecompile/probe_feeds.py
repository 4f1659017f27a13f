"""Small random inputs for a graph of any kind: tokens, masks, caches, images, waves.

What an open axis is, its name says: exporters call it `past_sequence_length`,
`encoder_sequence_length`, `past_sequence_length + sequence_length`. An axis without a telling name
is the batch where it comes first, else the sequence.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.graph import Array, dim

MASK = "attention_mask"
UNITS = (1, 16, 80, 320, 640)
"""Numbers a step of the sequence, to try: convolutions over sound take no less than a window."""
MOVES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that hand token ids on as they are."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The open axes: batch, sequence, tokens in the cache, tokens of a decoder's source."""

    batch: int
    sequence: int
    past: int
    source: int


def random_feed(model: ir.Model, seed: int, sizes: Sizes, unit: int = 1) -> dict[str, Array]:
    """Return random inputs; `unit` is how many numbers of a wave make up one step."""
    random = np.random.default_rng(seed)
    return {str(v.name): _array(v, random, sizes, unit) for v in model.graph.inputs}


def units(model: ir.Model) -> Sequence[int]:
    """Return the units to try: more than 1 only where an input may be a wave."""
    return UNITS if any(_is_wave(value) for value in model.graph.inputs) else UNITS[:1]


def tables_of(ids: ir.Value) -> Iterator[ir.Value]:
    """Yield the tables whose rows an input of ids looks up."""
    for node in ids.consumers():
        table = node.inputs[0]
        if node.op_type == "Gather" and table is not None and table is not ids:
            if table.is_initializer() and table.shape:
                yield table
        elif node.op_type in MOVES and table is ids:
            yield from tables_of(node.outputs[0])


def _is_wave(value: ir.Value) -> bool:
    axes = list(value.shape or ())[1:]
    floats = value.dtype is not None and value.dtype.is_floating_point()
    return floats and len(axes) < 3 and not all(isinstance(size, int) for size in axes)


def _array(value: ir.Value, random: np.random.Generator, sizes: Sizes, unit: int) -> Array:
    axes = list(value.shape) if value.shape is not None else [None, None]
    step = unit if _is_wave(value) else 1
    shape = tuple(
        d if isinstance(d, int) else sizes.batch if axis == 0 else step * _size(d, sizes)
        for axis, d in enumerate(axes)
    )
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    if "mask" in str(value.name) or dtype.kind == "b":
        mask = random.integers(0, 2, shape)
        mask[..., :1] = 1
        return mask.astype(dtype)
    rows = min((dim(table, 0) for table in tables_of(value)), default=2)
    return random.integers(0, rows, shape).astype(dtype)


def _size(axis: ir.SymbolicDim | None, sizes: Sizes) -> int:
    """Return the size that an axis' name asks for, which may be a sum."""
    name = "" if axis is None else str(axis.value or "")
    return sum(_term(part.strip().lower(), sizes) for part in name.split("+"))


def _term(name: str, sizes: Sizes) -> int:
    if name.isdecimal():
        return int(name)
    if "total" in name:
        return sizes.past + sizes.sequence
    if "past" in name:
        return sizes.past
    return sizes.source if name.startswith("encoder") else sizes.sequence
