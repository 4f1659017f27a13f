"""Run an artifact of three parts: embed on the host, the encoder on the NPU, pool on the host.

It needs numpy and onnxruntime, and what runs the encoder; nothing of edgecompile: bundles carry
this file for smoke.py. encoder.json names the encoder's tensors in their order.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Feed = Mapping[str, Array]
    Encode = Callable[[Sequence[list[Array]]], Sequence[Sequence[Array]]]

ABOUT, EMBED, POOL, ENCODER = "encoder.json", "embed.onnx", "pool.onnx", "encoder.rknn"
MASK = "attention_mask"


class FeedError(ValueError):
    """A feed that the artifact does not take."""


def open_parts(
    onnxruntime: Any, folder: Path, threads: int, encode: "Encode"
) -> "Callable[[Sequence[Feed]], list[dict[str, Array]]]":
    """Return a function feeds -> outputs by name, of each.

    `encode` takes the encoder's inputs of each feed in their order, and gives its outputs.
    """
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    embed = Host(onnxruntime, folder / EMBED, threads)
    pool = Host(onnxruntime, folder / POOL, threads) if (folder / POOL).is_file() else None

    def run(feeds: "Sequence[Feed]") -> "list[dict[str, Array]]":
        known = [embed.run(embed.fit(feed)) for feed in feeds]
        given = encode([[each[name] for name in about["inputs"]] for each in known])
        return [
            _finish(about, pool, feed, each | _named(about, arrays))
            for feed, each, arrays in zip(feeds, known, given, strict=True)
        ]

    return run


def _named(about: Mapping[str, Any], arrays: "Sequence[Array]") -> "dict[str, Array]":
    """Return the encoder's outputs by name, in the shapes of the graph: a runtime adds axes."""
    names = about["outputs"]
    return {n: a.reshape(names[n]) for n, a in zip(names, arrays, strict=True)}


def _finish(
    about: Mapping[str, Any], pool: "Host | None", feed: "Feed", known: "dict[str, Array]"
) -> "dict[str, Array]":
    if pool is not None:
        known = known | pool.run(pool.fit(feed) | known)
    length = max((array.shape[1] for array in feed.values() if array.ndim == 2), default=0)
    return {
        name: known[name] if axis is None else known[name].take(range(length), axis)
        for name, axis in about["answers"].items()
    }


class Host:
    """An .onnx file that runs on the host."""

    def __init__(self, onnxruntime: Any, path: Path, threads: int) -> None:
        """Open it; 0 threads = all."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.wanted = {i.name: (i.shape, i.type) for i in self.session.get_inputs()}
        self.names = [output.name for output in self.session.get_outputs()]

    def fit(self, feed: "Feed") -> "dict[str, Array]":
        """Return what this part reads of a feed, padded with zeros to the fixed shapes."""
        return {
            name: pad(name, feed, shape).astype("int32" if "int32" in kind else "float32")
            for name, (shape, kind) in self.wanted.items()
            if name in feed
        }

    def run(self, known: "Feed") -> "dict[str, Array]":
        """Return what this part makes, by name."""
        given = {name: known[name] for name in self.wanted}
        return dict(zip(self.names, self.session.run(self.names, given), strict=True))


def pad(name: str, feed: "Feed", shape: Sequence[int]) -> "Array":
    """Return an input in a fixed shape, zeros behind; FeedError where it does not fit."""
    array = feed[name]
    pairs = list(zip(shape, array.shape, strict=False))
    if (
        array.ndim != len(shape)
        or array.shape[:1] != tuple(shape[:1])
        or any(n > s for s, n in pairs)
    ):
        msg = f"input '{name}' is {list(array.shape)}: the artifact takes {list(shape)}"
        raise FeedError(msg)
    if list(array.shape) != list(shape) and MASK not in feed:
        msg = f"input '{name}' cannot be padded to {list(shape)}: the model has no {MASK}"
        raise FeedError(msg)
    return np.pad(array, [(0, s - n) for s, n in pairs])
