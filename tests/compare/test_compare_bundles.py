"""Two bundles: what differs, and which differences are regressions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecompile.bundles.read_bundle import ReadBundle, read_bundle
from edgecompile.compare.change import BETTER, CHANGED, SAME, UNCLEAR, WORSE
from edgecompile.compare.compare_accuracy import compare_recorded
from edgecompile.compare.compare_bundles import compare_bundles
from edgecompile.compare.compare_latency import compare_latency

LATENCY = {"unit": "ms", "kind": "measured", "how": "a test's", "sequence": 8, "threads": 1}
OTHER = {"files": {"model.onnx": "1" * 64, "golden.npz": "2" * 64, "profile.json": "3" * 64}}


@pytest.fixture
def timed(built: Path) -> Callable[..., ReadBundle]:
    """Return a function that gives the tiny bundle with other times: (p50, p90 or a band)."""
    read = read_bundle(built / "model-x86-64")

    def replaced(artifact: Any, reference: Any = None, **manifest: Any) -> ReadBundle:
        rows = []
        for model, times in (("artifact", artifact), ("float", reference)):
            for name, value in (times or {}).items():
                low_high = {}
                if isinstance(value, tuple):
                    value, low_high["low"], low_high["high"] = value  # noqa: PLW2901
                rows.append({**LATENCY, "name": name, "model": model, "value": value, **low_high})
        return ReadBundle(
            read.folder, {**read.manifest, **manifest}, {**read.profile, "numbers": rows}
        )

    return replaced


def p(p50: Any, p90: float | None = None) -> dict[str, Any]:
    """Return a model's quantiles."""
    return {"latency_p50": p50} | ({"latency_p90": p90} if p90 else {})


@pytest.mark.parametrize(
    ("old", "new", "verdict", "how"),
    [
        (p((10, 9.8, 10.2)), p((12, 11.8, 12.2)), WORSE, "confidence intervals"),
        (p((10, 9.8, 10.2)), p((8, 7.8, 8.2)), BETTER, "confidence intervals"),
        (p((10, 9.0, 12.0)), p((12, 11.0, 13.0)), UNCLEAR, "confidence intervals"),
        (p((10, 9.99, 10.01)), p((10.2, 10.19, 10.21)), SAME, "confidence intervals"),
        (p(10.0, 11.0), p(12.0, 13.0), WORSE, "no confidence intervals"),
        (p(10.0, 14.0), p(12.0, 13.0), UNCLEAR, "no confidence intervals"),
    ],
)
def test_slower_is_what_chance_and_trifles_do_not_explain(
    old: Any, new: Any, verdict: str, how: str, timed: Callable[..., ReadBundle]
) -> None:
    """Intervals that do not touch, and more than 5 %; p50 and p90 where there is no interval."""
    (change,) = compare_latency(timed(old), timed(new, **OTHER))
    assert (change.verdict, change.old) == (verdict, 10)
    assert how in change.why


def test_a_slow_day_of_the_machine_is_no_regression(timed: Callable[..., ReadBundle]) -> None:
    """Float became slower as well: what counts is the share of its time."""
    slow = timed(p(20.0, 22.0), p(60.0, 63.0), **OTHER)
    (change,) = compare_latency(timed(p(10.0, 11.0), p(30.0, 33.0)), slow)
    assert change.verdict == SAME
    assert "float takes x 2.00 of before" in change.why
    share = {"latency_vs_float": (0.33, 0.32, 0.34)}
    old = timed(p((10, 9, 11)) | share, p(30.0))
    new = timed(p((20, 19, 21)) | share, p(60.0), **OTHER)
    (change,) = compare_latency(old, new)
    assert (change.verdict, "share of float's time" in change.why) == (SAME, True)


def test_times_of_other_machines_are_not_compared(timed: Callable[..., ReadBundle]) -> None:
    """Nor those of the same file, which chance alone sets apart."""
    new = timed(p(50.0, 51.0), **OTHER)
    elsewhere = ReadBundle(new.folder, new.manifest, {**new.profile, "host": {"cpu": "a board"}})
    (change,) = compare_latency(timed(p(10.0, 11.0)), elsewhere)
    assert (change.verdict, "not comparable" in change.why) == (UNCLEAR, True)
    (change,) = compare_latency(timed(p(10.0, 11.0)), timed(p(50.0, 51.0)))
    assert (change.verdict, change.why) == (SAME, "the artifact is the same file")


def test_recorded_accuracy_counts_on_the_same_data_alone(timed: Callable[..., ReadBundle]) -> None:
    """A mean over other samples, or of another metric, is neither better nor worse."""
    old = timed({})
    worse = {**old.manifest["accuracy"], "mean": old.manifest["accuracy"]["mean"] - 0.01}
    found = {c.name: c.verdict for c in compare_recorded(old, timed({}, accuracy=worse))}
    assert found["cosine, mean, recorded"] == WORSE
    elsewhere = timed({}, accuracy=worse, evaluation={"data": "other"})
    assert {c.verdict for c in compare_recorded(old, elsewhere)} == {CHANGED}


def test_the_same_bundle_differs_in_nothing(built: Path) -> None:
    """All that is compared is the same; not even the runtime is asked."""
    read = read_bundle(built / "model-x86-64")
    changes = compare_bundles(read, read)
    assert {change.verdict for change in changes} == {SAME}
    assert {"toolchain", "recipe", "inputs", "size", "latency", "accuracy", "artifact"} == {
        change.section for change in changes
    }
