"""Rows of latency: bands, float's share, and whether the machine was too noisy to say."""

import numpy as np

from edgecompile.profile.latency_rows import latency_rows, noise_warning
from edgecompile.profile.measure_latency import Latency


def timed(model: str, times: list[float]) -> Latency:
    """Return what was measured of a model at 128 tokens."""
    return Latency(model, 128, "", 1, times, 7.0)


def steady(milliseconds: float) -> list[float]:
    """Return times that differ by a percent."""
    return [milliseconds * (1 + n / 1500) for n in range(15)]


def test_drift_that_hits_both_does_not_blur_their_ratio() -> None:
    """The machine slows down by half during the run: the ratio within each turn stays."""
    drift = np.linspace(1.0, 1.5, 15)
    found = latency_rows([timed("float", list(40 * drift)), timed("artifact", list(10 * drift))])
    ratio = next(row for row in found if row["name"] == "latency_vs_float")
    assert ratio["value"] == ratio["low"] == ratio["high"] == 0.25
    median = next(r for r in found if (r["name"], r["model"]) == ("latency_p50", "artifact"))
    assert median["low"] < 11.5 < median["value"] < 13.5 < median["high"]


def test_each_model_has_three_quantiles_and_a_load_time() -> None:
    """Of the case, with what was repeated how often."""
    found = latency_rows([timed("float", steady(40)), timed("artifact", steady(10))])
    ours = {row["name"]: row for row in found if row["model"] == "artifact"}
    assert set(ours) == {
        "latency_p50", "latency_p90", "latency_p99", "latency_vs_float", "load",
    }  # fmt: skip
    assert ours["load"]["value"] == 7.0
    for name, row in ours.items():
        assert row["kind"] == "measured"
        if name != "load":
            assert row["low"] <= row["value"] <= row["high"]
            assert (row["sequence"], row["threads"], row["repeats"]) == (128, 1, 15)


def test_a_noisy_machine_is_told_by_floats_own_interval() -> None:
    """Its rows are marked, and one line says so; a quiet machine's are not."""
    noisy = [40.0, 60.0] * 7 + [50.0]
    found = latency_rows([timed("float", noisy), timed("artifact", steady(10))])
    assert all(row["noisy"] for row in found if row["name"].startswith("latency"))
    warning = noise_warning(found)
    assert warning is not None
    assert warning.startswith(
        "this machine was too noisy to say in 1 of 1 cases (128 tokens on 1 thread)"
    )
    assert "\n" not in warning
    quiet = latency_rows([timed("float", steady(40)), timed("artifact", steady(10))])
    assert not [row for row in quiet if "noisy" in row]
    assert noise_warning(quiet) is None
