"""Time several models in turn, in one process, so that the machine's drift hits all alike.

Also a program: `python -m edgecompile.profile.measure_latency` reads a request as JSON from its
standard input and answers with JSON. A process of its own keeps the compiler's memory and threads
out of the figures.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.engines import REFERENCE, engine

WARM_UP = 3
TIME_LIMIT_S = 3600


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of one inference: median and 90th percentile of `repeats` runs."""

    model: str
    sequence: int
    phase: str
    threads: int
    p50_ms: float
    p90_ms: float
    repeats: int


@dataclass(frozen=True, slots=True)
class Case:
    """An .npz with one feed, its tokens, and what a decoder does with them: "prefill", "decode".

    In the phase "decode" it reads one token, and as many as `sequence` says are in its cache.
    """

    sequence: int
    feed: str
    phase: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """Models to time by name, what to time them on, threads, repeats.

    `engines` says which models run on another engine than onnxruntime.
    """

    models: Mapping[str, str]
    cases: Sequence["Case"]
    threads: int
    repeats: int
    engines: Mapping[str, str] = field(default_factory=dict)


def measure_latency(request: Request) -> list[Latency]:
    """Time in a fresh process."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(asdict(request)),
        capture_output=True, text=True, check=True, timeout=TIME_LIMIT_S,
    )  # fmt: skip
    return [Latency(**row) for row in json.loads(done.stdout)]


def time_in_turn(
    runners: Mapping[str, Callable[[Feed], object]], feed: Feed, repeats: int
) -> dict[str, list[float]]:
    """Run A B C A B C ... on a feed; return each one's milliseconds, warm-up left out."""
    times: dict[str, list[float]] = {name: [] for name in runners}
    for turn in range(WARM_UP + repeats):
        for name, run in runners.items():
            start = time.perf_counter()
            run(feed)
            if turn >= WARM_UP:
                times[name].append((time.perf_counter() - start) * 1e3)
    return times


def _serve(request: Request) -> list[Latency]:
    runners = {
        name: engine(request.engines.get(name, REFERENCE)).runner(
            Path(path), request.threads, one_pool=True
        )
        for name, path in request.models.items()
    }
    found = []
    for case in request.cases:
        with np.load(case.feed, allow_pickle=False) as archive:
            feed = {name: archive[name] for name in archive.files}
        times = time_in_turn(runners, feed, request.repeats)
        for name, row in times.items():
            p50, p90 = (round(float(p), 3) for p in np.percentile(row, [50, 90]))
            found.append(
                Latency(name, case.sequence, case.phase, request.threads, p50, p90, len(row))
            )
    return found


if __name__ == "__main__":
    given = json.load(sys.stdin)
    given["cases"] = [Case(**case) for case in given["cases"]]
    answer = _serve(Request(**given))
    json.dump([asdict(latency) for latency in answer], sys.stdout)
