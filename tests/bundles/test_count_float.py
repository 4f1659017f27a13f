"""What the float model costs on an emulated board: counted as the artifact is."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecompile import pipeline
from edgecompile.bundles.count_float import count_float
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.cli.main import cli
from edgecompile.counts.build_plugin import compiler_of
from edgecompile.emulate.userland import Userland, open_userland
from edgecompile.errors import EmulationError, InputError
from edgecompile.recipe import GateTable, ProfileTable, Recipe
from edgecompile.target import load


def say(_stage: str, _what: str) -> None:
    """Say nothing."""


@pytest.mark.slow
def test_float_is_counted_and_its_energy_stands_before_the_artifacts(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """In the profile, in the terminal, and again alone after a profile without it."""
    try:
        open_userland("aarch64")
        compiler_of()
    except EmulationError as error:
        pytest.skip(str(error))
    wishes = Recipe(profile=ProfileTable((16,), 1), gate=GateTable(0.8, 0.8))
    model = checkpoint(sentence_transformers=True)
    board = "raspberry-pi-5:onnxruntime"
    (built,) = pipeline.build(model, [board], tmp_path / "dist", wishes, pipeline.Trace())
    done = CliRunner().invoke(
        cli, ["profile", str(built.folder), "--emulate", "--model", str(model)]
    )
    assert done.exit_code == 0, done.output
    assert "float: instructions" in done.stdout
    numbers = json.loads((built.folder / "profile.json").read_text())["numbers"]
    for name, kind in (
        ("instructions", "emulated"),
        ("latency", "modelled"),
        ("energy", "modelled"),
    ):
        found = {n["model"]: n for n in numbers if n["name"] == name and n["value"]}
        assert found.keys() == {"float", "artifact"}, name
        assert {n["kind"] for n in found.values()} == {kind}
        assert found["float"]["value"] > 0
    assert not [n for n in numbers if n["name"] == "int8_macs" and n["model"] == "float"]


def test_another_float_model_is_refused(bundle: Path, built: Path, tmp_path: Path) -> None:
    """Before anything runs: what it saves would be another's."""
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (model / name).write_bytes((built / "model" / name).read_bytes())
    weights = bytearray((built / "model" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "model.safetensors").write_bytes(weights)
    nowhere = Userland.__new__(Userland)
    with pytest.raises(InputError, match=r"model\.safetensors: is not the file that the bundle"):
        count_float(read_bundle(bundle), load("raspberry-pi-5"), nowhere, model, say)


def test_the_option_goes_with_emulation(bundle: Path) -> None:
    """A PC that times a bundle has timed float in turn with it."""
    done = CliRunner().invoke(cli, ["profile", str(bundle), "--model", "m"])
    assert (done.exit_code, "--model goes with --emulate" in done.output) == (2, True)
