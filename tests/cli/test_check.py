"""`edgecompile check` and the budgets of a build: exit codes, lines, annotations."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner, Result

from edgecompile.bundles import run_golden
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.cli.main import cli
from edgecompile.device import smoke

Reseal = Callable[..., None]


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as at home, also where these tests run in CI."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)


def test_a_bundle_within_its_budget_exits_with_0(bundle: Path) -> None:
    """A line a limit of the recipe that it was built with, and one for the hashes."""
    done = call("check", bundle)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["ok", "model-x86-64", "every"],
        ["ok", "model-x86-64", "size_mb"],
        ["ok", "model-x86-64", "cosine_min"],
    ]
    assert done.stderr == ""


def test_a_passed_limit_exits_with_3_and_is_annotated(bundle: Path, tmp_path: Path) -> None:
    """GitHub's annotation points at the recipe's line."""
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text('[budget]\n\n[budget."x86-64"]\nsize_mb = 0.01\n')
    done = call("check", bundle, "--recipe", recipe, "--github")
    assert done.exit_code == 3
    annotation, error = done.stderr.splitlines()
    assert annotation.startswith(f"::error file={recipe},line=4,title=model-x86-64%3A size_mb::")
    assert error == "error: over budget: model-x86-64 size_mb; the bundles are kept"
    assert "> 0.01 (measured: size of the model's files)" in done.stdout


def test_limits_on_the_command_line_go_before_the_recipes(bundle: Path) -> None:
    """JSON says the same as the lines; a budget without a number fails with what would give it."""
    done = call("check", bundle, "-b", "size_mb=0.01", "-b", "energy_mj=3", "--json")
    assert done.exit_code == 3
    found = {row["check"]: row for row in json.loads(done.stdout)}
    assert (found["size_mb"]["limit"], found["size_mb"]["holds"]) == (0.01, False)
    assert found["cosine_min"]["holds"]
    assert found["energy_mj"]["value"] is None
    assert "`edgecompile profile" in found["energy_mj"]["how"]
    assert call("check", bundle, "-b", "size_mb").exit_code == 2
    assert call("check", bundle, "-b", "size=1").stderr.startswith("error: --budget, [budget]: no")


def test_a_changed_byte_exits_with_1_and_the_others_are_still_judged(
    built: Path, bundle: Path, tmp_path: Path
) -> None:
    """One line says which file; JUnit has it as a failed case."""
    with (bundle / "model.onnx").open("ab") as file:
        file.write(b"\n")
    report = tmp_path / "junit.xml"
    done = call("check", bundle, built / "model-x86-64", "--junit", report, "--github")
    assert done.exit_code == 1
    annotation, error = done.stderr.splitlines()
    assert annotation.startswith("::error file=")
    assert error.startswith(f"error: {bundle}/model.onnx: is not the file that was built")
    assert done.stdout.count("size_mb") == 1
    assert 'tests="4" failures="1"' in report.read_text()


def test_a_doubled_scale_that_was_sealed_is_caught_by_running(
    bundle: Path, reseal: Reseal, double_scale: Callable[[Path], None]
) -> None:
    """The hashes match, the manifest says what a sound build saw; the answers do not."""
    assert call("check", bundle, "--run").exit_code == 0
    double_scale(bundle / "model.onnx")
    reseal(bundle)
    assert call("check", bundle).exit_code == 0
    done = call("check", bundle, "--run", "--github")
    assert done.exit_code == 3
    assert done.stderr.startswith(
        f"::error file={bundle}/manifest.json,line=1,title=model-x86-64%3A answers::"
    )
    assert run_golden.DRIFT == smoke.DRIFT


def test_ci_is_seen_by_its_environment(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub gets annotations and a summary, GitLab its file; --no-github asks for silence."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITLAB_CI", "true")
    over = ("check", bundle, "-b", "size_mb=0.01")
    assert "::error file=model-x86-64/manifest.json,line=1" in call(*over).stderr
    assert summary.read_text().startswith("before\n\n### edgecompile check: 1 of 3 failed")
    (issue,) = json.loads((tmp_path / "gl-code-quality-report.json").read_text())
    assert issue["location"]["path"] == "model-x86-64/manifest.json"
    assert "::error" not in call(*over, "--no-github").stderr


def test_a_bundle_cannot_move_the_cursor(bundle: Path, reseal: Reseal) -> None:
    """Escape sequences in what it says of itself are not passed on to the terminal."""

    def hostile(profile: dict[str, Any]) -> None:
        for row in profile["numbers"]:
            row["how"] = "\x1b[2J\rok"

    reseal(bundle, profile=hostile)
    done = call("check", bundle)
    assert "?[2J?ok" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_build_over_budget_keeps_its_bundle_and_exits_with_3(built: Path, tmp_path: Path) -> None:
    """The bundle stands, whole, so that one can see why; its line in the recipe is annotated."""
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text((built / "edgecompile.toml").read_text().replace("1.0", "0.01"))
    done = call(
        "build", built / "model", "-t", "x86-64", "-o", tmp_path, "--recipe", recipe, "--github"
    )
    assert done.exit_code == 3
    assert (
        read_bundle(tmp_path / "model-x86-64").manifest["recipe"]["budget"]["all"]["size_mb"]
        == 0.01
    )
    assert f"::error file={recipe},line=8,title=model-x86-64%3A size_mb::" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: over budget: model-x86-64 size_mb")
    assert "FAIL  model-x86-64  size_mb" in done.stdout


def test_a_build_below_the_gate_is_annotated(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate's error is in the step summary too."""
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text("[gate]\ncosine_mean = 1.0\n[quantize]\nladder = false\n")
    done = call(
        "build", built / "model", "-t", "aarch64", "-o", tmp_path / "dist", "--recipe", recipe,
        "--github",
    )  # fmt: skip
    assert done.exit_code == 3
    assert "::error title=edgecompile build%3A gate::aarch64: cosine to float is 0." in done.stderr
    assert "edgecompile build: 1 of 1 failed" in summary.read_text()


def test_a_clock_that_jumps_changes_no_verdict(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is judged by when: not by the files' dates, not by the time of day."""
    before = call("check", bundle, "--run").stdout
    jumps: Iterator[float] = iter(np.resize([4e9, 0.0, 1e9], 10_000).tolist())
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    for path in bundle.iterdir():
        path.touch()
        with path.open("rb"):
            subprocess.run(["/bin/touch", "-d", "2090-01-01", path], check=True)
    assert call("check", bundle, "--run").stdout == before


def test_a_read_only_disk_is_one_line(bundle: Path) -> None:
    """A bundle is checked where it lies; only a report that must be written there fails."""
    edgecompile = f"{sys.executable} -m edgecompile check {bundle}"
    script = (
        f"mount --bind {bundle} {bundle} && mount -o remount,ro,bind {bundle} || exit 99;"
        f"{edgecompile} && {edgecompile} --junit {bundle}/junit.xml"
    )
    done = subprocess.run(
        ["/usr/bin/unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if done.returncode == 99 or "unshare" in done.stderr:
        pytest.skip("this machine lets nobody mount")
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {bundle}/junit.xml: cannot write there: Read-only file system\n"
    )


@pytest.fixture
def double_scale() -> Callable[[Path], None]:
    """Return a function that doubles the weights' scale of an artifact's first int8 Linear."""

    def double(artifact: Path) -> None:
        model = ir.load(artifact)
        node = next(n for n in model.graph if n.op_type == "MatMulIntegerToFloat")
        scale = node.inputs[3]
        assert scale is not None
        assert scale.const_value is not None
        scale.const_value = ir.tensor(scale.const_value.numpy() * 2, name=scale.name)
        ir.save(model, artifact)

    return double
