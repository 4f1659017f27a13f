"""`edgecompile diff`: planted regressions, each caught with its exit code and annotation."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file, save_file

import edgecompile
from edgecompile.cli.main import cli

Reseal = Callable[..., None]


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def regression(old: Path, new: Path, *options: str) -> str:
    """Return the only annotation of a comparison that fails."""
    done = call("diff", old, new, "--fail-on", "regression", "--github", *options)
    assert done.exit_code == 3, done.output
    annotation, error = done.stderr.splitlines()
    assert error.startswith(f"error: {new}: 1 regression since {old}: ")
    prefix = f"::error file={new}/manifest.json,line=1,title={new.name}: "
    found = unquote(annotation)  # as GitHub's runner does
    assert found.startswith(prefix)
    return found.removeprefix(prefix)


@pytest.fixture
def old(built: Path) -> Path:
    """Return the bundle before."""
    return built / "model-x86-64"


def test_without_a_change_nothing_fails(old: Path, bundle: Path) -> None:
    """A copy is the same in everything, also where any change would fail."""
    done = call("diff", old, bundle, "--fail-on", "change", "--github")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith("things compared: 0 differ, 0 for the worse\n")
    rows = json.loads(call("diff", old, bundle, "--json").stdout)
    assert {row["verdict"] for row in rows} == {"same"}


def test_a_doubled_scale_is_caught_by_its_answers(old: Path, bundle: Path, reseal: Reseal) -> None:
    """One layer's scale in the artifact: every hash matches, every recorded figure is as before."""
    model = ir.load(bundle / "model.onnx")
    node = next(n for n in model.graph if n.op_type == "MatMulIntegerToFloat")
    scale = node.inputs[3]
    assert scale is not None
    assert scale.const_value is not None
    scale.const_value = ir.tensor(scale.const_value.numpy() * 2, name=scale.name)
    ir.save(model, bundle / "model.onnx")
    reseal(bundle)
    told = regression(old, bundle)
    assert told.startswith("accuracy, cosine, mean, golden samples run here::worse: ")
    assert "(paired over 16 samples: p = " in told


def test_a_larger_artifact_is_caught(old: Path, bundle: Path, reseal: Reseal) -> None:
    """A table that nothing reads: the same answers in more bytes."""
    model = ir.load(bundle / "model.onnx")
    unread = np.zeros((64, 64), np.float32)
    model.graph.register_initializer(
        ir.Value(name="unread", const_value=ir.tensor(unread, name="unread"))
    )
    ir.save(model, bundle / "model.onnx")
    size = (bundle / "model.onnx").stat().st_size
    reseal(bundle, profile=lambda profile: set_number(profile, "size", size))
    assert regression(old, bundle).startswith("size, size::worse: size, size: ")


def test_a_slower_graph_form_is_caught_by_timing_both(
    old: Path, bundle: Path, reseal: Reseal
) -> None:
    """The same answers through a thousand operators more; both artifacts are timed in turn."""
    model = ir.load(bundle / "model.onnx")
    output = model.graph.outputs[0]
    value = output
    made = []
    for number in range(1000):
        node = ir.node("Neg", [value], name=f"slow_{number}")
        value = node.outputs[0]
        value.name, value.type, value.shape = f"slow_{number}_out", output.type, output.shape
        made.append(node)
    model.graph.extend(made)
    output.name, value.name = "inner", output.name
    model.graph.outputs[0] = value
    ir.save(model, bundle / "model.onnx")
    reseal(bundle)
    told = regression(old, bundle, "--time")
    assert told.startswith("latency, in turn, 1 thread::worse: ")
    assert "(measured here in turn, 31 times: x " in told


def test_a_slower_form_is_caught_in_its_profile(old: Path, bundle: Path, reseal: Reseal) -> None:
    """Without running anything: by what the two builds measured."""

    def slower(profile: dict[str, Any]) -> None:
        for row in profile["numbers"]:
            if row["model"] == "artifact" and row["name"].startswith("latency"):
                for key in ("value", "low", "high"):
                    row[key] = 100.0 * (row.get(key) or row["value"])

    with (bundle / "model.onnx").open("ab") as file:  # another file; nobody loads it here
        file.write(b"")
    model = ir.load(bundle / "model.onnx")
    model.metadata_props["form"] = "slower"
    ir.save(model, bundle / "model.onnx")
    reseal(bundle, profile=slower)
    done = call("diff", old, bundle, "--fail-on", "regression", "--no-run", "--github")
    assert done.exit_code == 3
    told = [line for line in done.stderr.splitlines() if line.startswith("::error")]
    assert len(told) >= 2
    assert all("latency, " in line and "worse" in line for line in told)
    assert call("diff", old, bundle, "--no-run").exit_code == 0


def test_a_model_whose_layer_was_doubled_is_another_model(
    built: Path, old: Path, tmp_path: Path
) -> None:
    """Faithful to its own float model it is no regression; `--fail-on change` stops it."""
    weights = load_file(built / "model" / "model.safetensors")
    weights["encoder.layer.0.output.dense.weight"] *= 2
    model = tmp_path / "model"
    model.mkdir()
    for path in (built / "model").rglob("*"):
        if path.is_file():
            place = model / path.relative_to(built / "model")
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(path.read_bytes())
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    recipe = built / "edgecompile.toml"
    (new,) = edgecompile.build(model, targets=["x86-64"], recipe=recipe, output=tmp_path)
    done = call("diff", old, new.folder, "--fail-on", "change", "--github")
    assert done.exit_code == 3
    assert ": inputs, model.safetensors::changed: " in unquote(done.stderr)
    assert ": accuracy, the model's answers::changed: " in unquote(done.stderr)
    assert "another model" in done.stderr


def set_number(profile: dict[str, Any], name: str, value: float) -> None:
    """Change a number of the artifact."""
    row = next(r for r in profile["numbers"] if r["name"] == name and r["model"] == "artifact")
    row["value"] = value
