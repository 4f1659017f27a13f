"""A build judges a board's artifact on its emulated CPU; so does `profile --emulate`."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecompile import files, pipeline, target
from edgecompile.bundles.profile_bundle import profile_emulated
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.emulate.smoke_test import run_smoke_test
from edgecompile.emulate.userland import Userland
from edgecompile.errors import EmulationError, GateError, SmokeError
from edgecompile.host import Host
from edgecompile.judge_on_board import why_not
from edgecompile.recipe import EvaluateTable, GateTable, ProfileTable, Recipe

PC = Host("a PC", "x86_64", frozenset({"avx2"}), 4, "performance")
Build = Callable[..., pipeline.Bundle]


def silent(_stage: str, _what: str) -> None:
    """Say nothing."""


@pytest.fixture
def build(checkpoint: Callable[..., Path], tmp_path: Path) -> Build:
    """Return a function that builds a tiny bundle for a target."""

    def make(name: str, emulate: str = "always") -> pipeline.Bundle:
        wishes = Recipe(
            profile=ProfileTable((8,), 1),
            gate=GateTable(0.9, 0.9),
            evaluate=EvaluateTable(emulate=emulate),
        )
        model = checkpoint(sentence_transformers=True, name=f"model-{emulate}")
        output = tmp_path / "dist"
        (built,) = pipeline.build(model, [name], output, wishes, pipeline.Trace())
        return built

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raspberry-pi-3", "raspberry-pi-5", "android-arm64"])
def test_a_build_runs_the_smoke_test_on_the_board(
    userland: Userland, build: Build, name: str
) -> None:
    """The manifest says how near the answers are there, and on what."""
    del userland
    row = build(name).manifest["accuracy_emulated"]
    cpu = target.load(name).cpu
    assert cpu is not None
    assert (row["kind"], row["samples"], row["on"]) == ("emulated", 8, f"on a {cpu.name}")
    assert f"-cpu {cpu.core}; {target.load(name).engine} " in row["how"]
    assert row["mean"] == pytest.approx(row["here"]["mean"], abs=0.005)


@pytest.mark.slow
@pytest.mark.parametrize("board", ["raspberry-pi-3", "raspberry-pi-5"])
@pytest.mark.parametrize("engine", ["onnxruntime", "litert"])
def test_a_distilbert_classifier_runs_on_both_boards_by_both_engines(
    userland: Userland, checkpoint: Callable[..., Path], tmp_path: Path, board: str, engine: str
) -> None:
    """Another architecture and another metric than the sentence models'."""
    del userland
    always = Recipe(
        profile=ProfileTable((8,), 1),
        gate=GateTable(agreement=0.8, signal=0.8),
        evaluate=EvaluateTable(emulate="always"),
    )
    model = checkpoint("distilbert", "sequence")
    names = [f"{board}:{engine}"]
    (built,) = pipeline.build(model, names, tmp_path / "dist", always, pipeline.Trace())
    row = built.manifest["accuracy_emulated"]
    assert (row["kind"], row["metric"]) == ("emulated", "agreement")


def test_a_build_downloads_nothing_unasked(build: Build) -> None:
    """What is not set up is skipped, and the manifest says what would set it up."""
    skipped = build("raspberry-pi-3", "auto").manifest["accuracy_emulated"]["skipped"]
    assert skipped.startswith("no emulated boards are set up here: `edgecompile build --emulate`")


def test_asked_for_and_impossible_is_an_error(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--emulate` on a host without apt-get ends the build, with one line."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulationError, match="no aarch64 userland can be set up: there is no apt"):
        build("raspberry-pi-3")


def test_others_have_a_reason() -> None:
    """A PC's artifact, a host of that kind, a recipe that says never."""
    board = target.load("raspberry-pi-5")
    assert "has no table [cpu]" in str(why_not(PC, target.load("x86-64"), "always"))
    itself = replace(PC, isa="aarch64", features=frozenset(board.cpu_features))
    assert why_not(itself, board, "always") == "this host runs raspberry-pi-5's artifacts itself"
    assert why_not(PC, board, "never") == "[evaluate] emulate is 'never'"
    assert why_not(PC, board, "always") is None


@pytest.mark.slow
def test_profile_emulates_a_bundle_and_keeps_it_whole(userland: Userland, build: Build) -> None:
    """The manifest has the accuracy, the profile no measured latency, and all hashes hold."""
    del userland
    bundle = build("raspberry-pi-3", "never")
    assert "skipped" in bundle.manifest["accuracy_emulated"]
    found = profile_emulated(bundle.folder, silent)
    assert (found.kind, found.result["latency"]) == ("emulated", [])
    kept = read_bundle(bundle.folder)
    assert kept.manifest["accuracy_emulated"]["kind"] == "emulated"
    changed = ("accuracy_emulated", "files")
    same = [
        {k: v for k, v in m.items() if k not in changed} for m in (kept.manifest, bundle.manifest)
    ]
    assert same[0] == same[1]
    times = [n for n in kept.profile["numbers"] if n["name"].startswith("latency")]
    assert not any(n["kind"] == "measured" for n in times)


@pytest.mark.slow
def test_wrong_answers_there_are_the_gates(userland: Userland, build: Build) -> None:
    """What smoke.py says on the emulated board is the error's line."""
    del userland
    folder = build("raspberry-pi-3", "never").folder
    with np.load(folder / "golden.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays = {n: a * -1 if "/out/" in n else a for n, a in arrays.items()}
    np.savez_compressed(folder / "golden.npz", **arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = files.sha256(folder / "golden.npz")
    files.write_json(folder / "manifest.json", manifest)
    with pytest.raises(GateError, match="on an emulated cortex-a53: accuracy: cosine to float -"):
        profile_emulated(folder, silent)


@pytest.mark.slow
def test_kernels_of_another_cpu_are_seen(userland: Userland, build: Build) -> None:
    """A Cortex-A53 whose files claim a dot product: the runtime believes them, qemu does not."""
    folder = build("raspberry-pi-3", "never").folder
    pi_3, pi_5 = (target.load(name).cpu for name in ("raspberry-pi-3", "raspberry-pi-5"))
    assert pi_3 is not None
    assert pi_5 is not None
    with pytest.raises(GateError, match=r"executes an instruction that a cortex-a53 has not"):
        run_smoke_test(userland, replace(pi_5, core=pi_3.core), folder, 600)


@pytest.mark.slow
def test_an_older_bundle_is_told(userland: Userland, build: Build) -> None:
    """Its smoke.py would time itself under the emulator."""
    folder = build("raspberry-pi-3", "never").folder
    path = folder / "smoke.py"
    path.write_text(path.read_text().replace("--once", "--twice"))
    cpu = target.load("raspberry-pi-3").cpu
    assert cpu is not None
    with pytest.raises(SmokeError, match="is of an older edgecompile"):
        run_smoke_test(userland, cpu, folder, 600)
