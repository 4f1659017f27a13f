"""Run an artifact of three parts: embed, encoder of the text's length, pool.

What the host gives the encoder, and what the encoder gives back, are tensors of the same names. It
needs numpy and an interpreter, and nothing of edgecompile: bundles carry this file for smoke.py.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
    Feed = Mapping[str, Array]

MASK = "attention_mask"


class FeedError(ValueError):
    """A feed that no length of the artifact takes."""


def open_parts(runtime: Any, folder: Path, threads: int) -> "Callable[[Feed], dict[str, Array]]":
    """Return a function feed -> outputs by name, in the reference kernels.

    `runtime` is the module with an Interpreter.
    """
    embed, pool = (
        _calls(runtime, folder / name, threads) for name in ("embed.tflite", "pool.tflite")
    )
    encoders = {
        key: _calls(runtime, folder / f"encoder_{key.removeprefix('tokens_')}.tflite", threads)
        for key in embed
    }
    lengths = sorted(embed, key=_number)

    def run(feed: "Feed") -> "dict[str, Array]":
        key = _choose(feed, lengths)
        known: dict[str, Array] = {}
        for name, detail in embed[key].get_input_details().items():
            known[name] = _pad(feed[name], detail)
        for name, detail in pool[key].get_input_details().items():
            if name in feed:
                known[name] = _pad(feed[name], detail)
        for call in (embed[key], *encoders[key].values(), pool[key]):
            answers = call(**{name: known[name] for name in call.get_input_details()})
            known |= answers
        given = max((a.shape[1] for a in feed.values() if a.ndim == 2), default=0)
        details = pool[key].get_output_details()
        return {name: _cut(known[name], details[name], given) for name in _ordered(details)}

    return run


def _calls(runtime: Any, file: Path, threads: int) -> dict[str, Any]:
    """Return a file's signatures, ready to call."""
    plain = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    opened = runtime.Interpreter(
        model_path=str(file),
        num_threads=threads,
        experimental_op_resolver_type=plain,
    )
    opened.allocate_tensors()
    return {key: opened.get_signature_runner(key) for key in opened.get_signature_list()}


def _number(key: str) -> int:
    return int(key.rpartition("_")[2]) if key.startswith("tokens_") else 0


def _ordered(details: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the outputs' names in the graph's order."""
    return sorted(details, key=lambda name: int(details[name]["index"]))


def _choose(feed: "Feed", keys: list[str]) -> str:
    """Return the signature of the shortest length that holds a feed."""
    if keys == ["serving_default"]:
        return keys[0]
    given = max(array.shape[1] for array in feed.values() if array.ndim > 1)
    room = [key for key in keys if _number(key) >= given]
    if not room:
        msg = f"a text of {given} tokens: the artifact's longest length is {_number(keys[-1])}"
        raise FeedError(msg)
    if _number(room[0]) != given and MASK not in feed:
        msg = f"a text of {given} tokens cannot be padded: the model has no {MASK}"
        raise FeedError(msg)
    return room[0]


def _pad(array: "Array", detail: Mapping[str, Any]) -> "Array":
    ends = [(0, int(size) - n) for size, n in zip(detail["shape"], array.shape, strict=True)]
    return np.pad(array, ends).astype(detail["dtype"])


def _cut(array: "Array", detail: Mapping[str, Any], length: int) -> "Array":
    """Return an output without what padding gave."""
    kept = [slice(length if wanted == -1 else None) for wanted in detail["shape_signature"]]
    return array[tuple(kept)].copy()
