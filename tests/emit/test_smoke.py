"""smoke.py, as a device runs it: a process of its own in the bundle's folder."""

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgecompile import files, pipeline
from edgecompile.emit.bundle import DEVICE, SMOKE, runtime_file
from edgecompile.engines import engine
from edgecompile.plugins import engine_names
from edgecompile.recipe import GateTable, ProfileTable, Recipe


@pytest.fixture
def bundle(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a tiny bundle."""
    wishes = Recipe(profile=ProfileTable((8,), 1), gate=GateTable(0.9, 0.9))
    trace = pipeline.Trace()
    model = checkpoint(sentence_transformers=True)
    (built,) = pipeline.build(model, ["aarch64"], tmp_path / "dist", wishes, trace)
    return built.folder


def smoke(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it isolated: no edgecompile on the path, another working directory."""
    return subprocess.run(
        [sys.executable, "-I", folder / "smoke.py", *options],
        cwd="/", capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def reseal(folder: Path, name: str) -> None:
    """Put a changed file's hash into the manifest, as an attacker or a bug might."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][name] = files.sha256(folder / name)
    path.write_text(json.dumps(manifest))


def test_a_good_bundle_passes_and_writes_what_it_measured(bundle: Path) -> None:
    """Exit code 0, a line a check, measured.json with kinds."""
    done = smoke(bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[:4] for line in done.stdout.splitlines()] == ["ok  "] * len(
        done.stdout.splitlines()
    )
    measured = json.loads((bundle / "measured.json").read_text())
    assert {row["kind"] for row in measured["latency"]} == {"measured"}
    assert measured["accuracy"]["mean"] > 0.9


def test_the_device_needs_only_numpy_and_the_runtime() -> None:
    """Neither edgecompile nor anything else, whatever the engine."""
    programs = {name: runtime_file(name) for name in engine_names()}
    for name, path in {"": DEVICE / SMOKE, **programs}.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
        imported = {
            (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
            for node in nodes for alias in node.names
        }  # fmt: skip
        outside = imported - set(sys.stdlib_module_names)
        known = {"numpy", "onnxruntime"} | ({engine(name).package} if name else set())
        assert outside <= {package.replace("-", "_") for package in known}


@pytest.mark.parametrize("name", ["model.onnx", "golden.npz", "smoke.py"])
def test_a_changed_file_fails(bundle: Path, name: str) -> None:
    """One byte more is enough, and the file is named."""
    with (bundle / name).open("ab") as file:
        file.write(b"\n")
    done = smoke(bundle)
    assert done.returncode == 1
    assert done.stdout.strip() == (
        f"FAIL  files: {name} is not the file that was built; copy the bundle again"
    )


def test_a_missing_file_fails(bundle: Path) -> None:
    """An incomplete copy is noticed first."""
    (bundle / "golden.npz").unlink()
    assert smoke(bundle).stdout.strip() == "FAIL  files: golden.npz is missing"


def test_answers_that_differ_fail(bundle: Path) -> None:
    """A bundle whose hashes match but whose answers do not is caught by its golden vectors."""
    with np.load(bundle / "golden.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays = {n: a * -1 if "/out/" in n else a for n, a in arrays.items()}
    np.savez_compressed(bundle / "golden.npz", **arrays)
    reseal(bundle, "golden.npz")
    done = smoke(bundle)
    assert done.returncode == 1
    assert "FAIL  accuracy: cosine to float -" in done.stdout


def test_a_runtime_that_is_too_old_is_named(bundle: Path) -> None:
    """The device's onnxruntime is compared with the oldest that the artifact takes."""
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace('"runtime": ">=1.17"', '"runtime": ">=99.5"'))
    done = smoke(bundle)
    assert done.returncode == 1
    assert "is too old: pip install 'onnxruntime>=99.5'" in done.stdout


def test_a_manifest_cannot_point_outside(bundle: Path) -> None:
    """A path with a folder in it is refused."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    shutil.copy(bundle / "golden.npz", bundle.parent / "golden.npz")
    manifest["files"]["../golden.npz"] = manifest["files"]["golden.npz"]
    path.write_text(json.dumps(manifest))
    assert smoke(bundle).stdout.strip() == "FAIL  files: ../golden.npz is missing"


def test_once_leaves_out_latency(bundle: Path, tmp_path: Path) -> None:
    """For an emulator: the answers count, its time does not. The bundle is not written to."""
    result = tmp_path / "result.json"
    before = sorted(path.name for path in bundle.iterdir())
    done = smoke(bundle, "--once", "--result", str(result))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "latency" not in done.stdout
    found = json.loads(result.read_text())
    assert (found["latency"], found["accuracy"]["samples"] > 0) == ([], True)
    assert sorted(path.name for path in bundle.iterdir()) == before


def test_a_result_replaces_no_pipe_and_no_device(bundle: Path, tmp_path: Path) -> None:
    """`--result /dev/null`, as root, must leave /dev/null what it is; a pipe stands for it here."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:  # noqa: S607
        assert smoke(bundle, "--once", "--result", str(pipe)).returncode == 0
        said = reader.communicate(timeout=120)[0]
    assert json.loads(said)["latency"] == []
    assert stat.S_ISFIFO(pipe.stat().st_mode)
