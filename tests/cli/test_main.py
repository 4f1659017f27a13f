"""The command line: exit codes, one-line errors, JSON."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecompile import target
from edgecompile.cli.main import cli

RECIPE = "[profile]\nsequence = [8]\nrepeats = 1\n[gate]\ncosine_mean = 0.9\n"


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return a recipe that makes tiny builds quick."""
    path = tmp_path / "edgecompile.toml"
    path.write_text(RECIPE)
    return path


def test_build_json_is_for_machines(
    checkpoint: Callable[..., Path], recipe: Path, tmp_path: Path
) -> None:
    """Standard output holds JSON alone: one object a target, progress goes to standard error."""
    done = call(
        "build", checkpoint(), "-t", "x86-64", "-t", "aarch64", "-o", tmp_path / "dist",
        "--recipe", recipe, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert [row["target"] for row in rows] == ["x86-64", "aarch64"]
    assert all((Path(row["bundle"]) / "manifest.json").is_file() for row in rows)
    assert "[" in done.stderr


def test_build_ends_with_a_table_and_the_bundles(
    checkpoint: Callable[..., Path], recipe: Path, tmp_path: Path
) -> None:
    """A person sees size, accuracy and times, and where the bundle is."""
    done = call("build", checkpoint(), "-t", "x86-64", "-o", tmp_path / "d", "--recipe", recipe)
    assert "accuracy" in done.stdout
    assert f"bundle: {tmp_path / 'd' / 'model-x86-64'}" in done.stdout


def test_recipe_names_model_and_targets(
    checkpoint: Callable[..., Path], recipe: Path, tmp_path: Path
) -> None:
    """With a full recipe the command needs no arguments; its paths are relative to it."""
    checkpoint(name="tiny")
    recipe.write_text(RECIPE + '[model]\nsource = "tiny"\n[targets]\nnames = ["aarch64"]\n')
    done = call("build", "--recipe", recipe, "-o", tmp_path / "dist", "--json")
    assert [row["target"] for row in json.loads(done.stdout)] == ["aarch64"]


def test_a_user_mistake_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    """What, where, what next; no traceback."""
    done = call("build", tmp_path / "none", "-t", "x86-64")
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: {tmp_path / 'none'}: no such directory; give a Hugging Face model directory or"
        " an .onnx file\n"
    )


def test_the_gate_exits_with_3(
    checkpoint: Callable[..., Path], recipe: Path, tmp_path: Path
) -> None:
    """A build below the gate is told apart from a mistake."""
    recipe.write_text(RECIPE.replace("0.9", "1.0") + "[quantize]\nladder = false\n")
    done = call("build", checkpoint(), "-t", "aarch64", "-o", tmp_path / "d", "--recipe", recipe)
    assert done.exit_code == 3
    assert done.stderr.splitlines()[-1].startswith("error: aarch64: cosine to float is 0.9")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build"], "give MODEL, or name [model] source in the recipe"),
        (["build", "somewhere"], "give at least one target with -t"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: list[str], message: str) -> None:
    """Click's own code for usage."""
    done = call(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_bug_exits_with_70(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw is called a bug, in one line."""
    monkeypatch.setattr(target, "names", lambda: 1 / 0)
    done = call("targets")
    assert done.exit_code == 70
    assert done.stderr == (
        "bug in edgecompile: ZeroDivisionError: division by zero; EDGECOMPILE_DEBUG=1 shows where\n"
    )


def test_targets_lists_all_and_shows_one() -> None:
    """JSON objects with names; one target's file as it is."""
    rows = json.loads(call("targets", "--json").stdout)
    assert [row["name"] for row in rows] == target.names()
    assert [row["engines"] for row in rows] == [target.engines(name) for name in target.names()]
    for name in target.names():
        assert name in call("targets").stdout
        assert call("targets", name).stdout.strip() == target.path_of(name).read_text().strip()
        assert json.loads(call("targets", name, "--json").stdout)["name"] == name


def test_plan_shows_the_passes_and_runs_nothing(checkpoint: Callable[..., Path]) -> None:
    """Steps in order with needs and gives; the weights are not even opened."""
    folder = checkpoint()
    (folder / "model.safetensors").write_bytes(b"")
    rows = json.loads(call("plan", folder, "-t", "x86-64", "--json").stdout)
    stages = list(dict.fromkeys(row["stage"] for row in rows))
    assert stages == ["export", "quantize", "lower/onnxruntime", "emit", "evaluate", "profile"]
    assert any(row["gives"] for row in rows)
    assert "needs" in call("plan", folder, "-t", "x86-64").stdout


def test_plan_shows_what_a_recipe_prunes(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """The step stands between export and quantize, and names the corpus."""
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text('[prune]\nvocabulary = "corpus.txt"\n')
    done = call("plan", checkpoint(), "-t", "x86-64", "--recipe", recipe, "--json")
    rows = json.loads(done.stdout)
    (row,) = (row for row in rows if row["stage"] == "prune")
    assert row["does"].startswith("Cut the tokens that corpus.txt never uses")
    assert [row["stage"] for row in rows][:3] == ["export", "prune", "quantize"]


def test_inspect_says_what_is_float_and_why(
    checkpoint: Callable[..., Path], recipe: Path, tmp_path: Path
) -> None:
    """A classifier's last Linear is float; the artifact itself says the reason."""
    model = checkpoint(head="sequence")
    recipe.write_text(RECIPE + "agreement = 0.0\n")
    call("build", model, "-t", "x86-64", "-o", tmp_path / "dist", "--recipe", recipe)
    found = json.loads(call("inspect", tmp_path / "dist" / "model-x86-64", "--json").stdout)
    floats = [row for row in found["linears"] if row["format"] == "float"]
    assert [row["name"] for row in floats] == ["classifier"]
    assert floats[0]["why"].startswith("it makes the model's output")
    tables = {row["name"]: row["format"] for row in found["embeddings"]}
    assert tables["embeddings.word_embeddings.weight_int8"] == "int8"
    assert tables["embeddings.token_type_embeddings.weight"] == "float"
    assert sum(found["bytes_by_format"].values()) < found["size_bytes"]
    assert "classifier" in call("inspect", tmp_path / "dist" / "model-x86-64").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    """Each shell gets a script that calls edgecompile."""
    done = call("completion", shell)
    assert done.exit_code == 0
    assert "_EDGECOMPILE_COMPLETE" in done.stdout


def test_bash_keeps_an_engine_in_its_targets_word() -> None:
    """Bash ends words at colons unless told otherwise."""
    assert call("completion", "bash").stdout.startswith("COMP_WORDBREAKS=")
    code = f'{call("completion", "bash").stdout}\nprintf %s "$COMP_WORDBREAKS"'
    done = subprocess.run(
        [shutil.which("bash") or "/bin/bash", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/bin:/usr/bin"},
    )
    assert ":" not in done.stdout


@pytest.mark.parametrize("word", ["rasp", "x86-64:", "x86-64:open"])
def test_targets_complete_on_tab(word: str) -> None:
    """The shell offers the targets, and their other engines, that begin like the word."""
    environment = {
        "_EDGECOMPILE_COMPLETE": "bash_complete",
        "COMP_WORDS": f"edgecompile build model -t {word}",
        "COMP_CWORD": "4",
    }
    done = subprocess.run(
        [Path(sys.executable).parent / "edgecompile"],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    wanted = [name for name in target.completions() if name.startswith(word)]
    assert wanted
    assert [line.partition(",")[2] for line in done.stdout.split()] == wanted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupt_leaves_nothing_behind(
    number: signal.Signals, code: int, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Ctrl-C and SIGTERM end with one line, no scratch folder and no bundle."""
    slow = tmp_path / "slow.toml"
    slow.write_text("[profile]\nrepeats = 100000\n[gate]\ncosine_mean = 0.9\n")
    output = tmp_path / "dist"
    process = subprocess.Popen(
        [sys.executable, "-m", "edgecompile", "build", checkpoint(), "-t", "x86-64",
         "-o", output, "--recipe", slow],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stderr or ():
        if "profile" in line:
            break
    time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1] == "interrupted; nothing half-written is left"
    assert not output.exists()


def test_help_imports_nothing_heavy() -> None:
    """`--help` is instant: neither onnx nor onnxruntime nor numpy is loaded for it."""
    code = (
        "import sys; from click.testing import CliRunner; from edgecompile.cli.main import cli;"
        "CliRunner().invoke(cli, ['--help']);"
        "heavy = ('numpy', 'onnx', 'onnx_ir', 'onnxruntime', 'rich');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("option", ["--data", "--calibrate"])
def test_random_data_is_told_in_every_run(
    option: str, checkpoint: Callable[..., Path], recipe: Path, tmp_path: Path
) -> None:
    """Progress, the steps that use it, the table and the manifest all say that nothing was real."""
    recipe.write_text(RECIPE.replace("0.9", "0.0") + "signal = 0.0\n")
    done = call(
        "build", checkpoint(), "-t", "x86-64", "-o", tmp_path / "d", "--recipe", recipe,
        option, "random",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "RANDOM DATA" in done.stderr
    assert "64 random samples" in done.stderr
    assert "warning: RANDOM DATA" in done.stdout
    manifest = json.loads((tmp_path / "d" / "model-x86-64" / "manifest.json").read_text())
    for use, first in (("calibration", 1), ("evaluation", 65)):
        table = manifest[use]
        assert (table["data"], table["samples"], table["first"]) == ("random", 64, first)
        assert table["warning"].startswith("RANDOM DATA")


def test_the_manifest_knows_the_data(
    checkpoint: Callable[..., Path], recipe: Path, tmp_path: Path
) -> None:
    """Name, kind, number and hash of what calibrated and of what judged."""
    data = tmp_path / "own.csv"
    data.write_text("n,sentence\n" + "".join(f"{n},one {'the ' * n}\n" for n in range(80)))
    done = call(
        "build", checkpoint(), "-t", "x86-64", "-o", tmp_path / "d", "--recipe", recipe,
        "--data", data,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    manifest = json.loads((tmp_path / "d" / "model-x86-64" / "manifest.json").read_text())
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    shared = {"data": "own.csv", "kind": "text", "sha256": digest}
    assert manifest["calibration"] == shared | {"samples": 64, "first": 1}
    assert manifest["evaluation"] == shared | {"samples": 16, "first": 65}
    assert "warning" not in done.stderr
