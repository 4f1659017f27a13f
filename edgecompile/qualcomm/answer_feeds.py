"""Answer feeds by Qualcomm's emulator: padded to the artifact's shapes, tables looked up before."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.device.run_parts import FeedError, Host, pad
from edgecompile.errors import DataError
from edgecompile.scratch import scratch_folder
from edgecompile.toolchain.ask import ANSWERS, FEEDS, ask, read_answers, write_feeds

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

TOOLCHAIN, TABLES = "qnn", "tables.onnx"
WORKER = Path(__file__).with_name("worker.py")
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
    outputs = [value.name for value in graph.output]
    with scratch_folder() as place:
        try:
            known = [{n: pad(n, feed, s) for n, s in shapes.items()}
                     for feed in _look_up(artifact.parent / TABLES, feeds)]  # fmt: skip
        except FeedError as error:
            raise DataError(str(error)) from error
        write_feeds(known, place)
        request = {
            "do": "run", "artifact": str(artifact.absolute()), "feeds": FEEDS,
            "answers": ANSWERS, "outputs": outputs,
        }  # fmt: skip
        work(request, place, EMULATE_LIMIT_S)
        return [
            [_cut(row[name], axes.get(name), feed) for name in outputs]
            for feed, row in zip(feeds, read_answers(place), strict=True)
        ]


def _look_up(tables: Path, feeds: "Sequence[Feed]") -> "Sequence[Feed]":
    """Return feeds with what the host computes of each, if the tables are its."""
    if not tables.is_file():
        return feeds
    import onnxruntime as ort

    host = Host(ort, tables, 0)
    return [{**feed, **host.run(host.fit(feed))} for feed in feeds]


def work(request: Mapping[str, Any], place: Path, time_limit_s: float) -> None:
    """Let the toolchain's Python do a request."""
    ask(
        TOOLCHAIN,
        WORKER,
        request,
        place,
        time_limit_s=time_limit_s,
        memory_limit_bytes=MEMORY_LIMIT_BYTES,
    )


def _cut(array: "FloatArray", axis: int | None, feed: "Feed") -> "FloatArray":
    """Return an output without what padding gave."""
    if axis is None:
        return array
    length = max(given.shape[1] for given in feed.values() if given.ndim == 2)
    return np.take(array, np.arange(length), axis=axis)
