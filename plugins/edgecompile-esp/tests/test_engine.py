"""esp-ppq itself writes, simulates and judges; the bundle checks itself where it is installed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

PACKAGE = Path(__file__).parents[1] / "edgecompile_esp"
RECIPE = "[shapes]\nsequence = [1, 32]\n[calibration]\nsamples = 16\n"


def toolchain() -> Path | None:
    """Return the Python of esp-ppq's environment, if there is one here."""
    from edgecompile.cache_folder import cache_folder

    found = sorted((cache_folder() / "toolchains").glob("esp_ppq-*/toolchain.json"))
    return found[-1].parent / "bin" / "python" if found else None


needs_toolchain = pytest.mark.skipif(
    toolchain() is None, reason="edgecompile toolchain install esp_ppq, with this plug-in installed"
)


def call(words: Sequence[object], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run edgecompile where the plug-in is installed."""
    command = [sys.executable, "-m", "edgecompile", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_its_targets_and_its_compiler_are_listed() -> None:
    """As soon as the package is installed."""
    told = call(["targets"]).stdout
    assert "esp32-p4" in told
    assert "esp32-s3" in told
    assert "esp_ppq      esp-ppq 1.3.12: " in call(["toolchain", "list"]).stdout


def test_its_lock_has_hashes() -> None:
    """Of each package one, and no registry's name; torch is apart."""
    lock = (PACKAGE / "toolchain" / "esp_ppq.txt").read_text()
    assert lock.count("--hash=sha256:") >= lock.count("==") > 20
    assert "index-url" not in lock
    assert "\ntorch==" not in lock


def test_without_toolchain_and_network_nothing_starts(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """One line with the command, before the model is read; nothing written."""
    done = call(
        ["build", checkpoint(), "-t", "esp32-p4", "-o", tmp_path / "dist"],
        EDGECOMPILE_CACHE=str(tmp_path / "cache"), PIP_CONFIG_FILE="/dev/null",
        PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0", PIP_NO_CACHE_DIR="1",
    )  # fmt: skip
    assert done.returncode == 1
    assert "edgecompile toolchain install esp_ppq" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "dist").exists()


def build(model: Path, target: str, output: Path) -> Path:
    """Build for one chip; return the bundle."""
    recipe = output.with_suffix(".toml")
    recipe.write_text(RECIPE)
    done = call(["build", model, "-t", target, "--recipe", recipe, "-o", output])
    assert done.returncode == 0, done.stderr
    return output / f"model-{target}"


@pytest.mark.slow
@needs_toolchain
@pytest.mark.parametrize("target", ["esp32-p4", "esp32-s3"])
def test_a_bundle_answers_as_float_does_and_passes_its_own_check(
    target: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The simulation judged it; smoke.py simulates again and times nothing: it is no chip."""
    bundle = build(checkpoint(sentence_transformers=True), target, tmp_path / "dist")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert (manifest["engine"], manifest["artifact"]) == ("esp_dl", "model.espdl")
    assert manifest["accuracy"]["kind"] == "emulated"
    assert manifest["accuracy"]["mean"] > 0.998
    assert "Apache-2.0" in manifest["toolchain"]["licence"]
    sizes = {name: (bundle / name).stat().st_size for name in ("model.espdl", "embed.onnx")}
    profile = json.loads((bundle / "profile.json").read_text())
    (size,) = [
        n["value"] for n in profile["numbers"] if (n["name"], n["model"]) == ("size", "artifact")
    ]
    assert size == sum(sizes.values())
    told = json.loads(call(["inspect", bundle, "--json"]).stdout)
    assert len(told["linears"]) == 12
    assert {row["format"] for row in told["embeddings"]} >= {"int8"}
    done = subprocess.run(
        [str(toolchain()), "-I", bundle / "smoke.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not measured: this machine emulates the NPU" in done.stdout


@pytest.mark.slow
@needs_toolchain
def test_the_file_is_the_same_each_time_and_is_compared_with_what_was_simulated(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Bit for bit; and one other weight in the encoder is noticed."""
    model = checkpoint("distilbert")
    bundles = [build(model, "esp32-p4", tmp_path / name) for name in ("a", "b")]
    files = [(bundle / "model.espdl").read_bytes() for bundle in bundles]
    assert files[0] == files[1]
    assert holds(bundles[0])
    encoder = onnx.load(bundles[0] / "encoder.onnx")
    weight = next(t for t in encoder.graph.initializer if t.name.endswith("weight_int8"))
    q = numpy_helper.to_array(weight).copy()
    q[0, 0] ^= 1
    weight.CopyFrom(numpy_helper.from_array(q, weight.name))
    onnx.save(encoder, bundles[0] / "encoder.onnx")
    assert not holds(bundles[0])


def holds(bundle: Path) -> bool:
    """Say whether a bundle's artifact holds its encoder's weights, as the worker finds it."""
    code = (
        "import pathlib, runpy, sys; worker, folder = map(pathlib.Path, sys.argv[1:]);"
        " same = runpy.run_path(str(worker))['_same_weights'];"
        " print('same', same(folder / 'encoder.onnx', folder / 'model.espdl'))"
    )
    worker = PACKAGE / "toolchain" / "esp_ppq_worker.py"
    done = subprocess.run(
        [str(toolchain()), "-I", "-c", code, worker, bundle],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1] == "same True"
