"""Latency: models are timed in turn, warm-up left out, in a process of their own."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CalledProcessError

import numpy as np
import onnx.parser
import pytest

from edgecompile.data.feed import Feed
from edgecompile.profile import measure_latency as latency
from edgecompile.profile.measure_latency import WARM_UP, Case, Request, measure_latency


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        """Start at some time."""
        self.now = 100.0

    def perf_counter(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock of the test's own in the place of the machine's."""
    made = Clock()
    monkeypatch.setattr(latency, "time", made)
    return made


def runner(clock: Clock, name: str, seconds: list[float], log: list[str]) -> Callable[[Feed], None]:
    """Return a model that takes so many seconds in its first, second, ... run."""
    left = iter(seconds)

    def run(feed: Feed) -> None:
        assert list(feed) == ["x"]
        log.append(name)
        clock.now += next(left)

    return run


def test_models_take_turns(clock: Clock) -> None:
    """All models run once before any runs again: drift hits them alike."""
    log: list[str] = []
    runners = {name: runner(clock, name, [1] * 9, log) for name in ("b", "c", "a")}
    latency.time_in_turn(runners, {"x": np.zeros(1)}, 2)
    assert log == ["b", "c", "a"] * (WARM_UP + 2)


def test_warm_up_is_left_out(clock: Clock) -> None:
    """The first runs are not counted; the others are milliseconds of that model alone."""
    slow = runner(clock, "slow", [9] * WARM_UP + [2, 3], [])
    fast = runner(clock, "fast", [5] * WARM_UP + [0.25, 0.5], [])
    found = latency.time_in_turn({"slow": slow, "fast": fast}, {"x": np.zeros(1)}, 2)
    assert found == {"slow": [2000, 3000], "fast": [250, 500]}
    assert WARM_UP >= 1


def test_quick_models_run_more_often(clock: Clock) -> None:
    """What takes little time is repeated until the seconds are over, but not without end."""
    quick = runner(clock, "quick", [0.25] * 99, [])
    found = latency.time_in_turn({"quick": quick}, {"x": np.zeros(1)}, 2, seconds=1.0)
    assert len(found["quick"]) == 4
    instant = runner(clock, "instant", [0.0] * 999, [])
    found = latency.time_in_turn({"instant": instant}, {"x": np.zeros(1)}, 2, seconds=1.0)
    assert len(found["instant"]) == latency.MOST_REPEATS


def test_request_is_answered_by_another_process(tmp_path: Path) -> None:
    """Every model is timed at every length, in the order asked for; the fields say how."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> m (int64[b, s] x) => (int64[b, s] y)'
        "{ y = Add(x, x) }"
    )
    paths = {name: str(tmp_path / f"{name}.onnx") for name in ("float", "artifact")}
    for path in paths.values():
        onnx.save(proto, path)
    cases = [Case(8, str(tmp_path / "8.npz"), "prefill"), Case(2, str(tmp_path / "2.npz"))]
    for case in cases:
        np.savez(case.feed, x=np.arange(case.sequence)[None])
    found = measure_latency(Request(paths, cases, threads=1, repeats=3))
    assert [(row.model, row.sequence, row.phase) for row in found] == [
        ("float", 8, "prefill"),
        ("artifact", 8, "prefill"),
        ("float", 2, ""),
        ("artifact", 2, ""),
    ]
    assert all((row.threads, len(row.times_ms)) == (1, 3) for row in found)
    assert all(min(row.times_ms) <= row.p50_ms + 1e-3 and row.load_ms > 0 for row in found)


def test_failure_in_the_other_process_is_an_error(tmp_path: Path) -> None:
    """A model that cannot be timed is no empty answer."""
    np.savez(tmp_path / "feed.npz", x=np.arange(4)[None])
    missing = {"float": str(tmp_path / "missing.onnx")}
    with pytest.raises(CalledProcessError):
        measure_latency(Request(missing, [Case(4, str(tmp_path / "feed.npz"))], 1, 1))
