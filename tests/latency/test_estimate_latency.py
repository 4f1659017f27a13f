"""Modelled milliseconds: with their band, with and without LLVM, by one's own measurements."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecompile import target
from edgecompile.bundles.calibrate_board import calibrate_board
from edgecompile.cli.main import cli
from edgecompile.counts.count_artifact import Counted
from edgecompile.errors import DataError, FetchError, RecipeError
from edgecompile.latency import llvm
from edgecompile.latency.board import COUNTS, MCA
from edgecompile.latency.bound_blocks import bound_blocks
from edgecompile.latency.bound_counts import MEMORY, SIMD
from edgecompile.latency.estimate_latency import Bound, estimate, find_bound, latency_numbers
from edgecompile.latency.own_measurements import path_of

PI = target.load("raspberry-pi-5")
assert PI.cpu is not None
assert PI.latency is not None
CPU, LATENCY = PI.cpu, PI.latency
BOUND = Bound(48e6, MCA)
DOTS = (1000, ["4e829420"] * 8)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the user's own measurements out, and these ones away from them."""
    monkeypatch.setenv("EDGECOMPILE_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


def bundle(folder: Path, ms: float, **changes: object) -> Path:
    """Write what a bundle holds that was profiled here and measured on a board."""
    folder.mkdir()
    bound = latency_numbers(PI.name, CPU, LATENCY, BOUND, 128)
    files = {
        "manifest.json": {"artifact": "model.onnx", "files": {"model.onnx": "abc"}},
        "profile.json": {"numbers": bound},
        "measured.json": {
            "target": PI.name, "cpu": "Raspberry Pi 5", "runtime": "onnxruntime 1.32.0",
            "artifact_sha256": "abc", "latency": [{"threads": 1, "p50_ms": ms}], **changes,
        },
    }  # fmt: skip
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    return folder / "measured.json"


def test_a_modelled_time_has_its_kind_its_band_and_its_source() -> None:
    """One thread: value and band. Four: a range, no value."""
    one, four = latency_numbers(PI.name, CPU, LATENCY, BOUND, 128)
    assert {one["kind"], four["kind"]} == {"modelled"}
    assert one["value"] == pytest.approx(20 * LATENCY.factor(MCA, CPU.clock_hz), rel=1e-3)
    assert one["low"] == pytest.approx(one["value"] * (1 - LATENCY.band), rel=1e-3)
    assert four["value"] is None
    assert four["low"] < four["high"] < one["high"]
    assert "published times" in one["how"]


def test_calibrate_board_refits_the_factor_and_later_estimates_use_it(tmp_path: Path) -> None:
    """Two measurements of 30 and 34 ms where the bound is 20 ms: factor 1.6, and it says so."""
    files = [bundle(tmp_path / str(n), ms) for n, ms in enumerate((30.0, 34.0))]
    done = CliRunner().invoke(cli, ["calibrate-board", PI.name, *map(str, files)])
    assert done.exit_code == 0, done.output
    assert "-> 1.60 (+-15%), fitted to 2 measurement(s)" in done.output
    found = estimate(PI.name, CPU, LATENCY, BOUND)
    assert found.ms == pytest.approx((30.0 * 34.0) ** 0.5)
    assert "2 measurement(s) of your own" in found.how
    path_of(PI.name).unlink()
    assert "published" in estimate(PI.name, CPU, LATENCY, BOUND).how


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target": "raspberry-pi-4"}, "was measured for raspberry-pi-4"),
        ({"artifact_sha256": "other"}, "another artifact"),
        ({"latency": []}, "no one thread's time"),
        ({"latency": 7}, "is no measured.json"),
    ],
)
def test_a_measurement_that_does_not_belong_is_refused(
    changes: dict[str, object], says: str, tmp_path: Path
) -> None:
    """The line names the file; nothing is written."""
    with pytest.raises(DataError, match=says):
        calibrate_board(PI.name, [bundle(tmp_path / "b", 30.0, **changes)])
    assert not path_of(PI.name).exists()


def test_a_broken_file_of_the_users_is_named() -> None:
    """It is not silently left out."""
    path_of(PI.name).parent.mkdir(parents=True)
    path_of(PI.name).write_text("{}")
    with pytest.raises(RecipeError, match=r"raspberry-pi-5\.json: cannot be read"):
        estimate(PI.name, CPU, LATENCY, BOUND)


def test_without_llvm_the_counts_alone_bound_and_the_reason_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No llvm-mca, no apt: the wider band."""
    monkeypatch.setattr(llvm, "FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    counts = {"instructions": 4_000_000, **dict.fromkeys((*SIMD, *MEMORY), 0)}
    bound = find_bound(LATENCY, Counted(counts, counts), lambda _stage, _what: None)
    assert (bound.cycles, bound.model) == (1e6, COUNTS)
    assert "no llvm-mca: there is no apt-get" in estimate(PI.name, CPU, LATENCY, bound).how


@pytest.mark.slow
def test_llvm_knows_what_bounds_a_block() -> None:
    """A Cortex-A76 begins two SDOT a cycle: eight of them take four cycles."""
    try:
        opened = llvm.open_llvm()
    except FetchError as error:
        pytest.skip(str(error))
    found = bound_blocks(opened, LATENCY.scheduler, [DOTS, (5, ["d65f03c0"])])
    assert found.cycles == pytest.approx(4000, rel=0.01)
    assert found.covered > 0.99
