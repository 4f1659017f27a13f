"""How long each operator takes: the runtime's own profiler, mapped back to the source's layers.

Also a program: `python -m edgecompile.profile.measure_operators` reads a request as JSON from its
standard input and answers with JSON. A runtime that profiles is slower: nothing else is timed then.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.engines import REFERENCE, engine
from edgecompile.profile.source_layers import Layer, layer_of

TIME_LIMIT_S = 600
RUNS = 3
HOW = "the runtime's own profiler, median of {runs} inferences, batch 1, in a process of its own"


@dataclass(frozen=True, slots=True)
class Request:
    """Models to profile by name, the .npz with one feed, and the models' engines."""

    models: Mapping[str, str]
    engines: Mapping[str, str]
    feed: str


def measure_operators(
    request: Request, layers: Mapping[str, Layer], sequence: int
) -> dict[str, Any]:
    """Return milliseconds by model, layer and operator, 1 thread, those that take most first.

    A model whose engine has no profiler has the reason in "missing".
    """
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(asdict(request)),
        capture_output=True, text=True, check=True, timeout=TIME_LIMIT_S,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    rows = [row for model, nodes in answer["nodes"].items() for row in _sum(model, nodes, layers)]
    table = {"kind": "measured", "how": HOW.format(runs=RUNS), "unit": "ms", "threads": 1}
    return table | {"sequence": sequence, "rows": rows, "missing": answer["missing"]}


def _sum(
    model: str, nodes: Sequence[tuple[str, str, float]], layers: Mapping[str, Layer]
) -> list[dict[str, Any]]:
    """Sum up the nodes of the same layer and operator; a node of no layer has none."""
    sums: dict[tuple[str, str, str], float] = {}
    for name, operator, ms in nodes:
        layer = layer_of(name, layers) or Layer("", "")
        key = (layer.name, layer.does, operator)
        sums[key] = sums.get(key, 0.0) + ms
    rows = [
        {"model": model, "layer": layer, "does": does, "operator": operator, "value": round(ms, 4)}
        for (layer, does, operator), ms in sums.items()
    ]
    return sorted(rows, key=lambda row: -float(str(row["value"])))


def _serve(request: Request) -> dict[str, Any]:
    with np.load(request.feed, allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    nodes, missing = {}, {}
    for name, path in request.models.items():
        of = engine(request.engines.get(name, REFERENCE))
        if of.time_nodes:
            nodes[name] = of.time_nodes(Path(path), feed, RUNS)
        else:
            missing[name] = f"{of.package} has no profiler in Python"
    return {"nodes": nodes, "missing": missing}


if __name__ == "__main__":
    json.dump(_serve(Request(**json.load(sys.stdin))), sys.stdout)
