"""What engines with a vendor's compiler are asked alike."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgecompile.toolchain import venv

ODD = """<ir_version: 10, opset_import: ["": 21]> agraph (float[b,32] x) => (float[b,32] y)
{ h = MatMul(x, w) z = Shrink<lambd = 0.5>(h) y = MatMul(z, w) }"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Return a model with an operator, Shrink, that no such compiler takes."""
    model = onnx.parser.parse_model(ODD)
    weight = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32) / 6
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "odd.onnx")
    return tmp_path / "odd.onnx"


@pytest.fixture
def smoke() -> Callable[[str, Path], subprocess.CompletedProcess[str]]:
    """Return a function that runs a bundle's smoke.py in a toolchain's Python."""

    def run(toolchain: str, folder: Path) -> subprocess.CompletedProcess[str]:
        python = venv.venv_folder(toolchain) / "bin" / "python"
        return subprocess.run(
            [python, "-I", folder / "smoke.py"], capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture
def build_offline(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Return a function that builds for a target into dist/, no toolchain there, no network."""

    def build(target: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ, "EDGECOMPILE_CACHE": str(tmp_path / "cache"),
            "PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", "PIP_FIND_LINKS": "",
        }  # fmt: skip
        command = [sys.executable, "-m", "edgecompile", "build", checkpoint(), "-t", target]
        return subprocess.run(
            [*command, "-o", tmp_path / "dist"],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip

    return build
