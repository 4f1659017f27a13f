"""Random inputs, made from what the graph says of them: `random` in the place of a file.

They show that a model builds and runs. They say nothing of the ranges that real data has: whoever
uses them is warned in every run, and the manifest says it for good.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.data.limits import table_rows
from edgecompile.data.source import Kind, Request, Source
from edgecompile.errors import DataError

WORD = "random"
WARNING = (
    "RANDOM DATA: ranges and accuracy say nothing of real inputs; do not ship this, give real data"
    " with --data"
)
SHORTEST, LONGEST = 8, 128
"""Tokens of a random text, if the model takes so many."""
AUDIO_SAMPLES = 16_000
"""Length of a random waveform: one second, as most models sample."""
MEL_FRAMES = 3000
"""Whisper's 30 s, at 10 ms a frame (Radford et al. 2022, section 2.2)."""

Sizes = dict[str, int]


def open_noise(path: Path, _files: Sequence[Path], request: Request) -> Source:
    """Open a source that never ends: sample N is the same in every run."""
    known = {
        str(v.name): _open_sizes(str(v.name), request.folder) for v in request.model.graph.inputs
    }

    def feeds(start: int, stop: int) -> Iterator[Feed]:
        for number in range(start, stop):
            feed = _feed(request, known, np.random.default_rng(number))
            yield request.signature.check(f"random sample {number + 1}", feed)

    return Source(WORD, path, lambda limit: limit, feeds, warning=WARNING)


def _feed(
    request: Request, known: Mapping[str, Sequence[int]], random: np.random.Generator
) -> dict[str, np.ndarray[Any, Any]]:
    top = min(LONGEST, request.longest)
    sizes: Sizes = {}

    def size_of(name: str) -> int:
        if name not in sizes:
            sizes[name] = int(random.integers(min(SHORTEST, top), top + 1))
        return sizes[name]

    feed = {}
    for value in request.model.graph.inputs:
        name = str(value.name)
        given = known[name]
        dims = list(value.shape) if value.shape is not None else ["batch", "sequence"]
        shape = [1] * min(1, len(dims))
        for axis, size in enumerate(dims[1:], 1):
            if isinstance(size, int):
                shape.append(size)
            elif axis <= len(given):
                shape.append(given[axis - 1])
            else:  # "past_sequence_length + sequence_length", as optimum names such a sum
                parts = str(getattr(size, "value", size) or "sequence").split("+")
                shape.append(sum(size_of(part.strip()) for part in parts))
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        feed[name] = _numbers(request, name, shape, dtype, random)
    return feed


def _numbers(
    request: Request,
    name: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    random: np.random.Generator,
) -> np.ndarray[Any, Any]:
    """Return N(0, 1), ids within their table, counted positions, or a mask of ones."""
    if dtype.kind not in "iub":
        return random.normal(size=shape).astype(dtype)
    if "mask" in name or dtype.kind == "b":
        return np.ones(shape, dtype)
    if "position" in name:
        return np.broadcast_to(np.arange(shape[-1], dtype=dtype), shape).copy()
    return random.integers(0, table_rows(request.model, name) or 2, shape).astype(dtype)


def _open_sizes(name: str, folder: Path) -> tuple[int, ...]:
    """Return sizes behind the batch that exporters may leave open, as config.json has them."""
    if name == "input_values":
        return (AUDIO_SAMPLES,)
    if name not in ("pixel_values", "input_features"):
        return ()
    config = _config(folder)
    vision = config.get("vision_config")
    config = config | (vision if isinstance(vision, dict) else {})
    if name == "input_features":
        return (_size(config.get("num_mel_bins"), 80), MEL_FRAMES)
    side = config.get("image_size")
    height, width = side if isinstance(side, list) and len(side) == 2 else (side, side)
    return (_size(config.get("num_channels"), 3), _size(height, 224), _size(width, 224))


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: cannot read it: {error}"
        raise DataError(msg) from error
    return values if isinstance(values, dict) else {}


def _size(value: object, default: int) -> int:
    fits = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096
    return int(value) if fits else default  # type: ignore[call-overload]


KIND = Kind("random", "the word 'random'", open_noise, word=WORD)
