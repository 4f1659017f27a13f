"""Multiply-accumulates of an inference, as rows of profile.json."""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from edgecompile.graph import weight_bytes
from edgecompile.profile.choose_feeds import Timed
from edgecompile.profile.count_products import EXACT, count_each
from edgecompile.session import BIG_BYTES
from edgecompile.stages import lower_float

HOW = "multiply-accumulates of MatMul, Attention and Conv in the float graph, from its shapes"


def count_rows(dense: ir.Model, model: ir.Model, feeds: Sequence[Timed]) -> list[dict[str, Any]]:
    """Return a row for each of "float" and "artifact" and each feed; counting runs the graph.

    A graph too large to be opened once more is not counted, and the row says so.
    """
    floats = _count(dense, feeds)
    counts = {"float": floats, "artifact": floats if model is dense else _count(model, feeds)}
    return [
        {
            "name": "macs",
            "value": count,
            "unit": "MACs",
            "kind": None if count is None else "measured",
            "how": HOW if count is not None else "not counted: the graph has more than 1 GB",
            "model": name,
            "sequence": timed.sequence,
            **({"phase": timed.phase} if timed.phase else {}),
        }
        for name, row in counts.items()
        for count, timed in zip(row, feeds, strict=True)
    ]


def _count(model: ir.Model, feeds: Sequence[Timed]) -> list[int | None]:
    if weight_bytes(model.graph.initializers.values()) > BIG_BYTES:
        return [None] * len(feeds)
    found = count_each(lower_float(model), [timed.feed for timed in feeds], EXACT)
    return [int(count) for count in found]
