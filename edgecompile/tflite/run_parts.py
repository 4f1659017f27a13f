"""Run an artifact of three parts: embed, encoder of the text's length, pool.

What the host gives the encoder, and what the encoder gives back, are tensors of the same names.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.tflite.interpret import MASK, silent

if TYPE_CHECKING:
    from edgecompile.graph import FloatArray

    Feed = Mapping[str, FloatArray]


def open_parts(
    runtime: Any, folder: Path, threads: int, error: type[Exception]
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs the parts in a folder with the reference kernels.

    `runtime` is the module with an Interpreter; `error` is raised where no length holds a feed.
    """
    with silent():
        embed, pool = (
            _calls(runtime, folder / name, threads) for name in ("embed.tflite", "pool.tflite")
        )
        encoders = {
            key: _calls(runtime, folder / f"encoder_{_number(key)}.tflite", threads)
            for key in embed
        }
    lengths = sorted(embed, key=_number)

    def run(feed: "Feed") -> "list[FloatArray]":
        key = _choose(feed, lengths, error)
        known: dict[str, FloatArray] = {}
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
        return [_cut(known[name], details[name], given) for name in _ordered(details)]

    return run


def _calls(runtime: Any, file: Path, threads: int) -> dict[str, Any]:
    """Return a file's signatures, ready to call."""
    plain = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    opened = runtime.Interpreter(
        model_path=str(file),
        num_threads=threads or os.cpu_count() or 1,
        experimental_op_resolver_type=plain,
    )
    opened.allocate_tensors()
    return {key: opened.get_signature_runner(key) for key in opened.get_signature_list()}


def _number(key: str) -> int:
    return int(key.rpartition("_")[2]) if key.startswith("tokens_") else 0


def _ordered(details: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the outputs' names in the graph's order."""
    return sorted(details, key=lambda name: int(details[name]["index"]))


def _choose(feed: "Feed", keys: list[str], error: type[Exception]) -> str:
    """Return the signature of the shortest length that holds a feed."""
    if keys == ["serving_default"]:
        return keys[0]
    given = max(array.shape[1] for array in feed.values() if array.ndim > 1)
    room = [key for key in keys if _number(key) >= given]
    if not room:
        msg = f"a text of {given} tokens: the artifact's longest length is {_number(keys[-1])}"
        raise error(msg)
    if _number(room[0]) != given and MASK not in feed:
        msg = f"a text of {given} tokens cannot be padded: the model has no {MASK}"
        raise error(msg)
    return room[0]


def _pad(array: "FloatArray", detail: Mapping[str, Any]) -> "FloatArray":
    ends = [(0, int(size) - n) for size, n in zip(detail["shape"], array.shape, strict=True)]
    return np.pad(array, ends).astype(detail["dtype"])


def _cut(array: "FloatArray", detail: Mapping[str, Any], length: int) -> "FloatArray":
    """Return an output without what padding gave."""
    kept = [slice(length if wanted == -1 else None) for wanted in detail["shape_signature"]]
    return array[tuple(kept)].copy()
