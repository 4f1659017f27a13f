"""`profile`: a bundle's own smoke test, run here; on an emulated board: tests/emulate/."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecompile import files, pipeline, target
from edgecompile.bundles.profile_bundle import profile_emulated, profile_here, replace_latencies
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.bundles.rewrite_bundle import rewrite_bundle
from edgecompile.errors import BundleError, EmulationError, GateError, SmokeError
from edgecompile.host import read_host, why_not
from edgecompile.recipe import GateTable, ProfileTable, Recipe


def silent(_stage: str, _what: str) -> None:
    """Say nothing."""


@pytest.fixture
def build(checkpoint: Callable[..., Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that builds a tiny bundle for a target."""

    def make(name: str) -> Path:
        wishes = Recipe(profile=ProfileTable((8,), 1), gate=GateTable(0.9, 0.9))
        model = checkpoint(sentence_transformers=True)
        (built,) = pipeline.build(model, [name], tmp_path / "dist", wishes, pipeline.Trace())
        return built.folder

    return make


def smoke(folder: Path) -> int:
    """Return smoke.py's exit status."""
    result = folder.parent / "measured.json"
    command = [sys.executable, "-I", folder / "smoke.py", "--once", "--result", result]
    return subprocess.run(command, capture_output=True, check=False).returncode


def test_another_machines_bundle_is_run_and_not_timed_for_it(build: Callable[[str], Path]) -> None:
    """Its answers are checked here; this machine's latencies are shown and not kept."""
    folder = build("raspberry-pi-5" if read_host().isa != "aarch64" else "x86-64")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = profile_here(folder, silent)
    assert found.kind == "measured"
    assert found.kept.startswith("nothing: this host is ")
    assert found.result["latency"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_builds_own_latencies_stay(build: Callable[[str], Path]) -> None:
    """They were timed in turn with the float model's, which says more."""
    name = next(n for n in target.names() if why_not(read_host(), target.load(n)) is None)
    folder = build(name)
    before = (folder / "profile.json").read_bytes()
    assert "timed in turn" in profile_here(folder, silent).kept
    assert (folder / "profile.json").read_bytes() == before


def test_latencies_take_the_place_of_unknown_ones(build: Callable[[str], Path]) -> None:
    """A board that runs smoke.py fills the nulls; the bundle stays whole."""
    bundle = read_bundle(build("raspberry-pi-5" if read_host().isa != "aarch64" else "x86-64"))
    row = {"cpu": "a board", "isa": "aarch64", "runtime": "onnxruntime 1.32.0"}
    number = {"name": "latency_p50", "value": 3.0, "unit": "ms", "kind": "measured"}
    number |= {"how": "by smoke.py", "model": "artifact"}
    profile = replace_latencies(bundle.profile, [number], row)
    latencies = [n["value"] for n in profile["numbers"] if n["name"] == "latency_p50"]
    assert latencies == [3.0]
    assert any(n["name"] == "size" for n in profile["numbers"])
    rewrite_bundle(bundle, profile=profile)
    assert read_bundle(bundle.folder).profile["host"] == row
    assert smoke(bundle.folder) == 0
    assert not list(bundle.folder.glob(".*"))


def test_wrong_answers_are_the_gates(build: Callable[[str], Path]) -> None:
    """Exit code 3, and the line that smoke.py says."""
    folder = build("aarch64")
    with np.load(folder / "golden.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays = {n: a * -1 if "/out/" in n else a for n, a in arrays.items()}
    np.savez_compressed(folder / "golden.npz", **arrays)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = files.sha256(folder / "golden.npz")
    files.write_json(folder / "manifest.json", manifest)
    with pytest.raises(GateError, match="here: accuracy: cosine to float -"):
        profile_here(folder, silent)


def test_what_is_no_bundle_or_another_is_named(build: Callable[[str], Path]) -> None:
    """One line each: no manifest, a changed file, a runtime that is too old."""
    folder = build("aarch64")
    with pytest.raises(BundleError, match=r"dist: no bundle: there is no manifest\.json"):
        read_bundle(folder.parent)
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace('">=1.17"', '">=99.1"'))
    with pytest.raises(SmokeError, match=r"here: runtime: onnxruntime .* is too old"):
        profile_here(folder, silent)
    (folder / "manifest.json").write_text(manifest.replace('"golden.npz":', '"../golden.npz":'))
    with pytest.raises(BundleError, match=r"'files' has no hash of golden\.npz"):
        read_bundle(folder)
    (folder / "manifest.json").write_text(manifest)
    (folder / "profile.json").write_text("{}")
    with pytest.raises(BundleError, match=r"profile\.json: is not the file that was built"):
        read_bundle(folder)


def test_a_pc_is_no_board(build: Callable[[str], Path]) -> None:
    """A target without [cpu] cannot be emulated: those that can are named."""
    with pytest.raises(EmulationError, match="x86-64 has no CPU that is emulated here; those have"):
        profile_emulated(build("x86-64"), silent)
