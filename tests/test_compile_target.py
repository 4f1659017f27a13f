"""One target of a build: what is judged without VNNI, and what follows."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile import host, pipeline
from edgecompile.emit import onnxruntime
from edgecompile.errors import GateError
from edgecompile.evaluate import emulate_avx2, without_vnni
from edgecompile.recipe import GateTable, ProfileTable, QuantizeTable, Recipe

Checkpoint = Callable[..., Path]
QUICK = Recipe(
    profile=ProfileTable(sequence=(8,), repeats=1), gate=GateTable(cosine_mean=0.9, signal=0.5)
)
VNNI = host.Host("a PC", "x86_64", frozenset({"avx2", "avx512_vnni", "vnni"}), 1, "unknown")


@pytest.fixture
def vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this host one with VNNI, as far as the build reads."""
    # The profile first: imported under the patch, it would keep the pretended host for good.
    monkeypatch.setattr("edgecompile.profile.profile_host.read_host", lambda: VNNI)
    monkeypatch.setattr(host, "read_host", lambda: VNNI)


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vnni: None) -> Path:
    """Return the program that the build, on a host with VNNI, takes for qemu."""
    del vnni
    path = tmp_path / "qemu-x86_64"
    path.write_text("#!/bin/sh\necho no such CPU >&2; exit 1\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr(emulate_avx2, "find_qemu", lambda: str(path))
    return path


def saturate(monkeypatch: pytest.MonkeyPatch, times: int) -> list[Path]:
    """Let the emulated CPU spoil its first answers: no kernel here differs from this host's."""
    calls: list[Path] = []

    def emulate(_qemu: str, artifact: Path, _engine: str, feeds: Sequence[Any]) -> list[Any]:
        calls.append(artifact)
        run = onnxruntime.runner(artifact, 1)
        sign = -1 if len(calls) <= times else 1
        return [[sign * array for array in run(feed)] for feed in feeds]

    monkeypatch.setattr(without_vnni, "emulate", emulate)
    monkeypatch.setattr(without_vnni, "how", lambda _qemu, _engine: "stands for qemu")
    return calls


def build(
    model: Path, output: Path, target: str, wishes: Recipe = QUICK
) -> tuple[pipeline.Bundle, list[str]]:
    """Build for one target; return its bundle and all that was said."""
    said: list[str] = []
    trace = pipeline.Trace(say=lambda stage, what: said.append(f"{stage}: {what}"))
    (bundle,) = pipeline.build(model, [target], output, wishes, trace)
    return bundle, said


@pytest.mark.slow
@pytest.mark.usefixtures("vnni")
@pytest.mark.skipif(emulate_avx2.find_qemu() is None, reason="qemu-x86_64 is not installed")
def test_a_host_with_vnni_keeps_both_accuracies(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """int8-pairs answer the same on both CPUs, up to float rounding."""
    bundle, said = build(checkpoint(), tmp_path / "dist", "x86-64")
    found = bundle.manifest["accuracy_emulated"]
    assert (found["kind"], found["samples"]) == ("emulated", 8)
    assert found["how"].endswith("-cpu Skylake-Client: AVX2, no VNNI")
    np.testing.assert_allclose(found["mean"], found["here"]["mean"], atol=1e-3)
    assert bundle.manifest["accuracy"]["kind"] == "measured"
    assert any("on 8 of them without VNNI, emulated" in line for line in said)


@pytest.mark.usefixtures("qemu")
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (
            "raspberry-pi-5",
            "no emulated boards are set up here: `edgecompile build --emulate` does it, once",
        ),
        ("x86-64-vnni", "every x86-64-vnni has VNNI"),
        ("x86-64", "qemu-x86_64 failed: no such CPU"),
    ],
)
def test_what_is_not_emulated_is_built(
    checkpoint: Checkpoint, tmp_path: Path, target: str, reason: str
) -> None:
    """The manifest says why; an emulator that fails is said aloud, and costs no bundle."""
    bundle, said = build(checkpoint(), tmp_path / "dist", target)
    assert bundle.manifest["accuracy_emulated"] == {"skipped": reason}
    warned = [line for line in said if line.startswith("warning: x86-64: not judged without VNNI")]
    assert bool(warned) == (target == "x86-64")


@pytest.mark.usefixtures("qemu")
def test_a_float_artifact_needs_no_emulation(checkpoint: Checkpoint, tmp_path: Path) -> None:
    """What saturates is int8."""
    floats = dataclasses.replace(QUICK, quantize=QuantizeTable(scheme="none"))
    bundle, _ = build(checkpoint(), tmp_path / "dist", "x86-64", floats)
    assert bundle.manifest["accuracy_emulated"] == {"skipped": "no Linear is int8"}


@pytest.mark.usefixtures("qemu")
def test_the_worse_of_the_two_is_gated(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An artifact that is good here alone is not shipped, and the message says where it is bad."""
    saturate(monkeypatch, times=1000)
    wishes = dataclasses.replace(QUICK, quantize=QuantizeTable(ladder=False))
    with pytest.raises(GateError) as error:
        build(checkpoint(), tmp_path / "dist", "x86-64", wishes)
    said = str(error.value)
    assert said.startswith("x86-64: cosine to float is -")
    assert " without VNNI (emulated on 8 of them), the gate wants 0.9000" in said
    assert not list((tmp_path / "dist").glob("*x86-64*"))


@pytest.mark.usefixtures("qemu")
def test_the_ladder_climbs_for_what_is_emulated(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each plan is judged once on both CPUs, until the worse of the two passes."""
    calls = saturate(monkeypatch, times=2)
    bundle, _ = build(checkpoint(), tmp_path / "dist", "x86-64")
    assert bundle.manifest["quantization"]["ladder"]["moves_made"] == 2
    assert bundle.manifest["accuracy_emulated"]["mean"] > 0.9
    assert len(calls) == 3


@pytest.mark.usefixtures("qemu")
def test_what_fails_here_is_not_emulated(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow judge is asked last."""
    calls = saturate(monkeypatch, times=0)
    wishes = dataclasses.replace(
        QUICK, gate=GateTable(cosine_mean=1.0), quantize=QuantizeTable(ladder=False)
    )
    with pytest.raises(GateError) as error:
        build(checkpoint(), tmp_path / "dist", "x86-64", wishes)
    assert "VNNI" not in str(error.value)
    assert not calls
