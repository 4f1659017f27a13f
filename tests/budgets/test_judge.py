"""Budgets: the number that is judged, the limit, and how the number was got."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecompile import recipe as recipes
from edgecompile.budgets.find_line import find_line
from edgecompile.budgets.judge import Verdict, judge
from edgecompile.budgets.table import LIMITS, Budget, budgets_of
from edgecompile.bundles.read_bundle import ReadBundle, read_bundle
from edgecompile.errors import EdgeCompileError

ARTIFACT = {"model": "artifact", "kind": "measured", "how": "a test's"}


def verdict_of(bundle: ReadBundle, **budget: Any) -> Verdict:
    """Judge one limit."""
    (verdict,) = judge(bundle, Budget(**budget))
    return verdict


@pytest.fixture
def with_rows(built: Path) -> Callable[..., ReadBundle]:
    """Return a function that gives the tiny bundle with other numbers in its profile."""
    read = read_bundle(built / "model-x86-64")

    def replaced(*rows: dict[str, Any]) -> ReadBundle:
        profile = {**read.profile, "numbers": [{**ARTIFACT, **row} for row in rows]}
        return ReadBundle(read.folder, read.manifest, profile)

    return replaced


def test_each_limit_is_judged_or_says_what_would_give_its_number(built: Path) -> None:
    """Numbers that a build on this computer has are there; the others name the next step."""
    budget = Budget(**dict.fromkeys(LIMITS, 0.5))
    found = {v.check: v for v in judge(read_bundle(built / "model-x86-64"), budget)}
    assert list(found) == list(LIMITS)
    missing = {key for key, verdict in found.items() if verdict.value is None}
    assert missing == {"energy_mj", "npu_share"}
    assert not any(found[key].holds for key in missing)
    assert "`edgecompile profile" in found["energy_mj"].line()
    assert "whose engine has an NPU" in found["npu_share"].line()
    assert found["size_mb"].line().endswith("(measured: size of the model's files)")
    assert found["latency_ms"].how.startswith("16 tokens, 1 thread(s); ")


def test_a_limit_is_met_at_equality_and_told_apart_from_a_near_miss(
    with_rows: Callable[..., ReadBundle],
) -> None:
    """25 MB are 25 MB; a byte more is over, and looks so."""
    exact = with_rows({"name": "size", "value": 25_000_000, "unit": "bytes"})
    over = with_rows({"name": "size", "value": 25_000_001, "unit": "bytes"})
    assert verdict_of(exact, size_mb=25).holds
    assert not verdict_of(over, size_mb=25).holds
    assert verdict_of(over, size_mb=25).line().startswith("size_mb 25.000001 > 25 (measured")


def test_a_modelled_number_is_judged_by_its_worse_end(
    with_rows: Callable[..., ReadBundle],
) -> None:
    """Unless told otherwise; the line says both."""
    row = {"name": "latency_p50", "value": 20.0, "low": 15.0, "high": 30.0, "unit": "ms"}
    bundle = with_rows({**row, "kind": "modelled"})
    careful = verdict_of(bundle, latency_ms=25)
    assert not careful.holds
    assert careful.line() == "latency_ms 30 > 25 (modelled, at worst; 20 expected: a test's)"
    assert verdict_of(bundle, latency_ms=25, pessimistic=False).holds
    assert verdict_of(with_rows(row), latency_ms=25).holds  # measured: the median itself


def test_the_best_evidence_of_the_hardest_case_is_judged(
    with_rows: Callable[..., ReadBundle],
) -> None:
    """Measured before modelled, then the longest text, one thread; or the case that is asked."""
    row = {"name": "latency_p50", "unit": "ms", "threads": 1, "sequence": 128}
    bundle = with_rows(
        {**row, "value": 1.0, "kind": "modelled"},
        {**row, "value": 3.0, "sequence": 16},
        {**row, "value": 8.0},
        {**row, "value": 5.0, "threads": 2},
        {**row, "value": 9.0, "phase": "prefill"},
    )
    assert verdict_of(bundle, latency_ms=1).value == 8.0
    assert verdict_of(bundle, latency_ms=1, sequence=16).value == 3.0
    assert verdict_of(bundle, latency_ms=1, threads=2).value == 5.0
    nowhere = verdict_of(bundle, latency_ms=1, sequence=64)
    assert "not for 64 tokens on 1 thread(s); see [profile] sequence" in nowhere.line()


def test_share_of_float_is_of_the_same_case(with_rows: Callable[..., ReadBundle]) -> None:
    """A modelled share takes the artifact at its slowest and float at its fastest."""
    row = {"name": "latency_p50", "unit": "ms", "kind": "modelled", "sequence": 16}
    ours = {**row, "value": 10.0, "low": 8.0, "high": 12.0}
    theirs = {**row, "model": "float", "value": 20.0, "low": 15.0, "high": 30.0}
    verdict = verdict_of(with_rows(ours, theirs), latency_vs_float=0.6)
    assert (verdict.value, verdict.judged, verdict.holds) == (0.5, 0.8, False)
    alone = verdict_of(with_rows(ours, {**theirs, "sequence": 64}), latency_vs_float=0.6)
    assert "no modelled time beside" in alone.line()


def test_accuracy_is_the_worse_of_measured_and_emulated(built: Path) -> None:
    """A build without VNNI may lose more: that is what a device of that kind gets."""
    read = read_bundle(built / "model-x86-64")
    mean = read.manifest["accuracy"]["mean"]
    emulated = {"metric": "cosine", "mean": mean - 0.2, "min": 0.1, "kind": "emulated", "how": "q"}
    there = ReadBundle(read.folder, {**read.manifest, "accuracy_emulated": emulated}, read.profile)
    verdict = verdict_of(there, metric_drop=0.15)
    assert (verdict.kind, verdict.holds) == ("emulated", False)
    assert verdict_of(there, metric_drop=0.15, pessimistic=False).kind == "measured"
    classifier = {**read.manifest, "accuracy": {**read.manifest["accuracy"], "metric": "agreement"}}
    judged = verdict_of(ReadBundle(read.folder, classifier, read.profile), cosine_min=0.9)
    assert "judged by agreement, which has no cosine; give metric_drop" in judged.line()


def test_a_targets_own_table_goes_before_all(tmp_path: Path) -> None:
    """Key by key: [budget], then the board's, then the one with its engine; lines are found."""
    path = tmp_path / "edgecompile.toml"
    path.write_text(
        "[gate]\nsignal = 0.5\n[budget]\nsize_mb = 25\nlatency_ms = 10\n"
        '[budget."x86-64"]\nsize_mb = 20\n[budget."x86-64:openvino"]\nsize_mb = 15\n'
    )
    budgets = recipes.read(path).budget
    limits = [
        budgets.of(n).size_mb for n in ("aarch64", "x86-64", "x86-64:litert", "x86-64:openvino")
    ]
    assert limits == [25, 20, 20, 15]
    assert budgets.of("x86-64:openvino").latency_ms == 10
    lines = [find_line(path, name, "size_mb") for name in ("aarch64", "x86-64", "x86-64:openvino")]
    assert lines == [4, 7, 9]
    assert find_line(path, "x86-64", "signal") is None


def test_the_manifest_keeps_the_budget(built: Path) -> None:
    """What the recipe said is read back as it was; an older manifest has none."""
    read = read_bundle(built / "model-x86-64")
    wished = recipes.read(built / "edgecompile.toml").budget
    assert budgets_of(read.manifest, read.folder) == wished
    assert wished.of("x86-64").size_mb == 1.0
    assert not list(budgets_of({"recipe": {}}, read.folder).of("x86-64").limits())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("size = 1", "no key named 'size'; did you mean 'size_mb'?"),
        ('[budget."raspberry-pi-6"]', "did you mean 'raspberry-pi-"),
        ("size_mb = '1'", "must be a number"),
        ("size_mb = -1", "must be 0 or more"),
        ("latency_ms = nan", "must be 0 or more"),
        ("cosine_min = 1.5", "must lie between -1 and 1"),
        ("threads = 0", "must be at least 1"),
        ("pessimistic = 1", "must be true or false"),
    ],
)
def test_a_wrong_budget_is_one_line(text: str, told: str, tmp_path: Path) -> None:
    """The place, and what is known."""
    path = tmp_path / "edgecompile.toml"
    path.write_text(f"[budget]\n{text}\n")
    with pytest.raises(EdgeCompileError) as caught:
        recipes.read(path)
    assert str(caught.value).startswith(f"{path}, [budget")
    assert told in str(caught.value)
