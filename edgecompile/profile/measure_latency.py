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
from edgecompile.profile.quantiles import quantile

WARM_UP = 3
TIME_LIMIT_S = 3600
MOST_REPEATS = 200


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of each inference, in the order of the turns; milliseconds to load the model."""

    model: str
    sequence: int
    phase: str
    threads: int
    times_ms: Sequence[float]
    load_ms: float

    @property
    def p50_ms(self) -> float:
        """Return the median."""
        return round(quantile(self.times_ms, 0.5).value, 3)


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

    `engines` says which models run on another engine than onnxruntime. A case whose repeats take
    less than `seconds` is repeated until then: the more runs, the narrower the interval.
    """

    models: Mapping[str, str]
    cases: Sequence["Case"]
    threads: int
    repeats: int
    engines: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def measure_latency(request: Request) -> list[Latency]:
    """Time in a fresh process."""
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", __name__],
        input=json.dumps(asdict(request)),
        capture_output=True, text=True, check=True, timeout=TIME_LIMIT_S,
    )  # fmt: skip
    return [Latency(**row) for row in json.loads(done.stdout)]


def time_in_turn(
    runners: Mapping[str, Callable[[Feed], object]],
    feed: Feed,
    repeats: int,
    seconds: float = 0.0,
) -> dict[str, list[float]]:
    """Run A B C A B C ... on a feed; return each one's milliseconds, warm-up left out.

    After `repeats` turns it goes on until they have taken `seconds`, or MOST_REPEATS are done.
    """
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(WARM_UP):
        for run in runners.values():
            run(feed)
    begin, turns = time.perf_counter(), 0
    while turns < repeats or (turns < MOST_REPEATS and time.perf_counter() - begin < seconds):
        turns += 1
        for name, run in runners.items():
            start = time.perf_counter()
            run(feed)
            times[name].append((time.perf_counter() - start) * 1e3)
    return times


def _serve(request: Request) -> list[Latency]:
    runners, loads = {}, {}
    for name, path in request.models.items():
        runtime = engine(request.engines.get(name, REFERENCE))
        runtime.runtime_version()  # imports it: that is no part of loading a model
        start = time.perf_counter()
        runners[name] = runtime.runner(Path(path), request.threads, one_pool=True)
        loads[name] = (time.perf_counter() - start) * 1e3
    found = []
    for case in request.cases:
        with np.load(case.feed, allow_pickle=False) as archive:
            feed = {name: archive[name] for name in archive.files}
        times = time_in_turn(runners, feed, request.repeats, request.seconds)
        found += [
            Latency(name, case.sequence, case.phase, request.threads, row, loads[name])
            for name, row in times.items()
        ]
    return found


if __name__ == "__main__":
    given = json.load(sys.stdin)
    given["cases"] = [Case(**case) for case in given["cases"]]
    answer = _serve(Request(**given))
    json.dump([asdict(latency) for latency in answer], sys.stdout)
