"""Plant three regressions in MiniLM's bundle; `edgecompile diff` must catch each.

    .venv/bin/python benchmarks/regressions.py

A layer's scale doubled in the artifact, an artifact 5 % larger, a graph form that is slow here
(that of another board). Prints each exit code and annotation; ends with 1 if one was not caught.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import onnx_ir as ir

from edgecompile.files import sha256

MODEL = Path(__file__).parents[1] / "models" / "all-MiniLM-L6-v2"
LARGER = 0.05
"""The share of an artifact that is added."""


def edgecompile(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command."""
    command = [sys.executable, "-m", "edgecompile", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def double_scale(artifact: Path) -> None:
    """Double the scale of one layer's weights."""
    model = ir.load(artifact)
    node = next(n for n in model.graph if n.op_type == "MatMulIntegerToFloat")
    scale = node.inputs[3]
    scale.const_value = ir.tensor(scale.const_value.numpy() * 2, name=scale.name)
    ir.save(model, artifact)


def enlarge(artifact: Path) -> None:
    """Add a table that nothing reads."""
    model = ir.load(artifact)
    unread = np.zeros(int(artifact.stat().st_size * LARGER), np.uint8)
    value = ir.Value(name="unread", const_value=ir.tensor(unread, name="unread"))
    model.graph.register_initializer(value)
    ir.save(model, artifact)


def seal(bundle: Path) -> None:
    """Write size and hashes anew, as a build that did not notice would have."""
    manifest, profile = (
        json.loads((bundle / f"{n}.json").read_text()) for n in ("manifest", "profile")
    )
    for row in profile["numbers"]:
        if (row["name"], row.get("model")) == ("size", "artifact"):
            row["value"] = (bundle / manifest["artifact"]).stat().st_size
    (bundle / "profile.json").write_text(json.dumps(profile))
    manifest["files"] = {name: sha256(bundle / name) for name in manifest["files"]}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def planted(good: Path, name: str, change: Callable[[Path], None]) -> Path:
    """Return a copy of a bundle with a changed artifact."""
    bundle = Path(shutil.copytree(good, good.parent / name))
    change(bundle / "model.onnx")
    seal(bundle)
    return bundle


def main() -> int:
    """Build, plant, compare."""
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        done = edgecompile("build", MODEL, "-t", "x86-64", "-t", "aarch64", "-o", folder)
        if done.returncode:
            print(done.stderr)
            return 1
        good, other = (Path(folder) / f"{MODEL.name}-{name}" for name in ("x86-64", "aarch64"))
        cases = {
            "nothing": (Path(shutil.copytree(good, good.parent / "same")), "", 0),
            "a layer's scale doubled": (planted(good, "scale", double_scale), "accuracy", 3),
            "5 % larger": (planted(good, "size", enlarge), "size", 3),
            "a slower graph form": (other, "latency", 3),
        }
        caught = True
        for name, (bundle, section, code) in cases.items():
            done = edgecompile(
                "diff", good, bundle, "--time", "--fail-on", "regression", "--github"
            )
            found = [line for line in done.stderr.splitlines() if line.startswith("::error")]
            right = done.returncode == code and all(
                f": {section}" in unquote(line) for line in found
            )
            caught = caught and right and bool(found) == bool(code)
            print(f"{name}: exit code {done.returncode}")
            for line in found:
                print(f"    {unquote(line).replace(folder, 'dist')}")
    return 0 if caught else 1


if __name__ == "__main__":
    sys.exit(main())
