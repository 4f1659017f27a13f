"""Time artifacts of engines, or of forms, in turn: `-t TARGET:fastest` chooses by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.profile.choose_feeds import Timed
from edgecompile.profile.measure_latency import Case, Request, measure_latency
from edgecompile.scratch import scratch_folder

HOW = "in turn with the others in one process; batch 1, median"


def time_engines(
    artifacts: Mapping[str, Path], engines: Mapping[str, str], timed: Timed, repeats: int
) -> dict[str, dict[str, Any]]:
    """Return for each artifact the milliseconds of one inference, 1 thread.

    `engines` are the artifacts', by the same names.
    """
    with scratch_folder() as folder:
        file = folder / "feed.npz"
        np.savez(file, **timed.feed)  # type: ignore[arg-type]
        paths = {name: str(path) for name, path in artifacts.items()}
        cases = [Case(timed.sequence, str(file), timed.phase)]
        request = Request(paths, cases, 1, repeats, engines)
        found = measure_latency(request)
    return {
        latency.model: {
            "ms": latency.p50_ms,
            "sequence": latency.sequence,
            "threads": latency.threads,
            "kind": "measured",
            "how": HOW,
        }
        for latency in found
    }
