"""Answer feeds by Qualcomm's emulator: padded to the artifact's shapes, tables looked up before."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import DataError
from edgecompile.scratch import scratch_folder

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

TOOLCHAIN, TABLES, MASK = "qnn", "tables.onnx", "attention_mask"
EMULATE_LIMIT_S = 3600.0
MEMORY_LIMIT_BYTES = 32 << 30
"""Of address space: the libraries reserve more than they use."""


def answer_feeds(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return the emulator's answers, outputs in the artifact's order."""
    import onnx

    from edgecompile.facts import TEXT_AXES

    model = onnx.load(artifact)
    graph = model.graph
    stated = {entry.key: entry.value for entry in model.metadata_props}
    axes: dict[str, int] = json.loads(stated.get(TEXT_AXES, "{}"))
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    known = _look_up(artifact.parent / TABLES, feeds)
    with scratch_folder() as place:
        arrays = {
            f"{number:06}/{name}": pad(name, feed, shape)
            for number, feed in enumerate(known)
            for name, shape in shapes.items()
        }
        np.savez(place / "feeds.npz", **arrays)  # type: ignore[arg-type]
        request = {
            "do": "run", "artifact": str(artifact.absolute()), "feeds": "feeds.npz",
            "answers": "answers.npz", "outputs": [v.name for v in graph.output],
        }  # fmt: skip
        work(request, place, EMULATE_LIMIT_S)
        with np.load(place / "answers.npz", allow_pickle=False) as found:
            return [
                [
                    _cut(found[f"{number:06}/{value.name}"], axes.get(value.name), feed)
                    for value in graph.output
                ]
                for number, feed in enumerate(feeds)
            ]


def _look_up(tables: Path, feeds: "Sequence[Feed]") -> "Sequence[Feed]":
    """Return feeds with what the host computes of each, if the tables are its."""
    if not tables.is_file():
        return feeds
    import onnxruntime as ort

    from edgecompile.session import session_options

    session = ort.InferenceSession(tables, session_options(threads=0))
    wanted = {value.name: value.shape for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    found = []
    for feed in feeds:
        given = {name: pad(name, feed, shape) for name, shape in wanted.items()}
        given = {
            value.name: given[value.name].astype(np.int32 if "int32" in value.type else np.float32)
            for value in session.get_inputs()
        }
        found.append({**feed, **dict(zip(names, session.run(names, given), strict=True))})
    return found


def pad(name: str, feed: "Feed", shape: Sequence[int]) -> "FloatArray":
    """Return an input in the artifact's shape, zeros behind; DataError where it does not fit."""
    array = feed[name]
    if array.shape[:1] != tuple(shape[:1]) or any(
        n > s for n, s in zip(array.shape, shape, strict=True)
    ):
        msg = f"input '{name}' is {list(array.shape)}: the artifact takes {list(shape)}"
        raise DataError(msg)
    if list(array.shape) != list(shape) and MASK not in feed:
        msg = f"input '{name}' cannot be padded to {list(shape)}: the model has no {MASK}"
        raise DataError(msg)
    return np.pad(array, [(0, s - n) for n, s in zip(array.shape, shape, strict=True)])


def _cut(array: "FloatArray", axis: int | None, feed: "Feed") -> "FloatArray":
    """Return an output without what padding gave."""
    if axis is None:
        return array
    length = max(given.shape[1] for given in feed.values() if given.ndim == 2)
    return np.take(array, np.arange(length), axis=axis)


WORKER = Path(__file__).with_name("worker.py")


def work(request: Mapping[str, Any], place: Path, time_limit_s: float) -> None:
    """Let the toolchain's Python do a request; a build has installed it by now."""
    from edgecompile.toolchain.venv import open_venv
    from edgecompile.toolchain.worker import run_worker

    python = open_venv(TOOLCHAIN, lambda _stage, _line: None)
    run_worker(
        python,
        WORKER,
        request,
        place,
        time_limit_s=time_limit_s,
        memory_limit_bytes=MEMORY_LIMIT_BYTES,
    )
