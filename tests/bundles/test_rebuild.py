"""`rebuild`: a manifest is enough to build a bundle again, and what differs is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgecompile import api
from edgecompile.bundles.rebuild import DECISIONS
from edgecompile.cli.main import cli

Json = dict[str, Any]


@pytest.fixture
def model(built: Path, tmp_path: Path) -> Path:
    """Return a copy of the model that the tiny bundle was built from, under the same name."""
    return Path(shutil.copytree(built / "model", tmp_path / "elsewhere" / "model"))


@pytest.fixture
def change(bundle: Path) -> Callable[[Callable[[Json], object]], Path]:
    """Return a function that changes the manifest, and returns its path."""

    def apply(edit: Callable[[Json], object]) -> Path:
        path = bundle / "manifest.json"
        table = json.loads(path.read_text())
        edit(table)
        path.write_text(json.dumps(table))
        return path

    return apply


def call(*arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, ["rebuild", *map(str, arguments)])


def test_a_manifest_alone_gives_the_same_bytes(bundle: Path, model: Path, tmp_path: Path) -> None:
    """The rest of the bundle is not needed; nothing is written."""
    manifest = tmp_path / "saved.json"
    shutil.copy(bundle / "manifest.json", manifest)
    before = sorted(tmp_path.rglob("*"))
    done = call(manifest, "--model", model)
    assert done.exit_code == 0, done.stderr
    verdicts = dict(reversed(line.split("  ", 1)) for line in done.stdout.splitlines())
    found = {name.strip(): verdict.strip() for name, verdict in verdicts.items()}
    assert set(found.values()) == {"same"}
    assert {"model.onnx", "golden.npz", "sbom.cdx.json", DECISIONS} <= found.keys()
    assert not {"profile.json", "report.html"} & found.keys()
    assert sorted(tmp_path.rglob("*")) == before


def test_what_differs_is_named_with_3(change: Callable[..., Path], model: Path) -> None:
    """And other versions of tools, which may be why."""

    def edit(table: Json) -> None:
        table["files"]["model.onnx"] = "0" * 64
        table["accuracy"]["mean"] = 0.5
        table["tools"][0]["version"] = "2.7.18"

    done = call(change(edit), "--model", model)
    assert done.exit_code == 3
    lines = done.stdout.splitlines()
    assert lines[0].startswith("note     Python was 2.7.18, is 3.")
    assert [line for line in lines if line.startswith("differs")] == [
        "differs  model.onnx",
        f"differs  {DECISIONS}",
    ]
    told = f"error: not the same again: model.onnx, {DECISIONS}; tools differ too, as listed"
    assert done.stderr.splitlines()[-1] == told


def test_the_first_input_that_changed_is_named(bundle: Path, model: Path) -> None:
    """Before any work: weights, a file that is missing, one that was not there."""
    weights = model / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + b"\0")
    assert error(call(bundle, "--model", model)) == (
        f"error: {weights}: is not the file that the bundle was built from: its hash differs"
    )
    weights.write_bytes(whole)
    pooling = model / "1_Pooling" / "config.json"
    pooling.rename(model / "kept.json.away")
    assert "1_Pooling/config.json: was not found" in error(call(bundle, "--model", model))


def test_the_recipes_data_is_found_again(built: Path, model: Path, tmp_path: Path) -> None:
    """Relative to a folder that is given; a changed text is told before the build."""
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(f"the number {n} of all that is one" for n in range(100)))
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text(
        (built / "edgecompile.toml").read_text().replace("0.9", "0.3")
        + '[calibration]\ndata = "texts.txt"\nsamples = 32\n[quantize]\nladder = false\n'
    )
    api.build(model, targets=["aarch64"], recipe=recipe, output=tmp_path / "dist")
    bundle = tmp_path / "dist" / "model-aarch64"
    done = call(bundle, "--model", model, "--folder", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    assert {row["verdict"] for row in json.loads(done.stdout)["files"]} == {"same"}
    assert "texts.txt: was not found" in error(call(bundle, "--model", model))
    texts.write_text(texts.read_text().replace("99", "100"))
    changed = error(call(bundle, "--model", model, "--folder", tmp_path))
    assert changed.startswith(f"error: {texts}: is not the file that the bundle was built from")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda t: t["target_file"].update(opset=17), "x86-64.toml: opset was 17 when"),
        (lambda t: t.pop("target_file"), "built by an older edgecompile"),
        (lambda t: t.update(target="vax"), "no target named 'vax'"),
        (lambda t: t["recipe"]["shapes"].update(sequence=[9, 1]), "[shapes] sequence: must be"),
        (lambda t: t["recipe"].update(magic={}), "no table named '[magic]'"),
        (lambda t: t.update(inputs=[]), "'inputs' is no table"),
    ],
)
def test_a_manifest_that_cannot_be_followed_is_one_line(
    edit: Callable[[Json], object], told: str, change: Callable[..., Path], model: Path
) -> None:
    """Another target, another edgecompile's recipe, a hostile table."""
    assert told in error(call(change(edit), "--model", model))


def test_where_the_model_lies_is_asked_for(bundle: Path, tmp_path: Path) -> None:
    """A build by command line has no path in its recipe."""
    assert error(call(bundle)).endswith("does not say where the model lies: name it with --model")
    assert "no such file; give a bundle" in error(call(tmp_path / "none"))


def error(done: Result) -> str:
    """Return the one line that a command ended with."""
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("[")]
    return line
