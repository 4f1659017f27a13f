"""Killed builds: the benchmark's own judge, on a few kills."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(minilm: Path) -> ModuleType:
    """Return the benchmark's module; its tiny model has MiniLM's tokenizer."""
    del minilm
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
        import cache

        return cache


@pytest.mark.slow
def test_kills_break_nothing(benchmark: ModuleType, tmp_path: Path) -> None:
    """Entries are whole, no bundle is half, the next build is as good, nothing is left over."""
    found = benchmark.kill_builds(tmp_path / "kills", 8, seed=1)
    assert found.kills == 8
    assert not found.faults


def test_the_judge_sees_what_kills_could_break(benchmark: ModuleType, tmp_path: Path) -> None:
    """A half entry and a half bundle are told of."""
    entry, bundle = tmp_path / "stages" / "plan-1", tmp_path / "dist" / "tiny-x86-64"
    for folder in (entry, bundle):
        folder.mkdir(parents=True)
    (bundle / "manifest.json").write_text("{")
    faults = list(benchmark.faults_in(tmp_path))
    assert len(faults) == 2
    assert faults[0].startswith("plan-1: ")
    assert faults[1].startswith(f"half a bundle: {bundle}")
