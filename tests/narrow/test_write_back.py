"""`edgecompile prune`: from a recipe to a directory that build takes, and what it says."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from click.testing import CliRunner, Result
from tokenizers import Tokenizer

from edgecompile import files, recipe
from edgecompile.cli.main import cli
from edgecompile.export.read_model import export, find_source
from edgecompile.export_model import float_model
from edgecompile.prune.compare_widths import compare_widths
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.remove_units import remove_units
from edgecompile.stages import run_stage
from edgecompile.trace import Trace

UNITS = "ffn = 0.25\nheads = 0.25\nsamples = 16\n"
FFN = "encoder.layer.{}.intermediate.dense"


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a recipe: the model, [prune], more tables."""

    def make(model: Path, prune: str = UNITS, more: str = "") -> Path:
        path = tmp_path / "edgecompile.toml"
        path.write_text(
            f'[model]\nsource = "{model}"\n[prune]\n{prune}[gate]\ncosine_mean = 0.3\n'
            f"agreement = 0.1\nsignal = 0.0\n[profile]\nsequence = [8]\nrepeats = 1\n{more}"
        )
        return path

    return make


def one(done: Result) -> dict[str, Any]:
    """Return the one row of --json."""
    assert done.exit_code == 0, done.stderr
    (row,) = json.loads(done.stdout)
    found: dict[str, Any] = row
    return found


def kept(row: dict[str, Any], kind: str) -> tuple[int, int]:
    """Return how many units of a kind are left, of how many."""
    groups = [group for group in row["groups"].values() if group["kind"] == kind]
    return sum(g["kept"] for g in groups), sum(g["units"] for g in groups)


def test_a_pruned_directory_is_a_model_like_any_other(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """It says what was cut; build takes it, and finds the widths that it says."""
    folder = checkpoint("bert", sentence_transformers=True)
    output = tmp_path / "pruned"
    row = one(call("prune", write(folder), "-o", output, "--json"))
    assert row["folder"] == str(output)
    assert kept(row, "channels") == (96, 128)
    assert kept(row, "heads") == (6, 8)
    assert row["weight_bytes"]["pruned"] < row["weight_bytes"]["dense"]
    assert row["accuracy"]["metric"] == "cosine"
    assert compare_widths(*(export(find_source(f)) for f in (folder, output))) == row["groups"]
    assert json.loads((output / "edgecompile.json").read_text()) == {
        key: value for key, value in row.items() if key != "folder"
    }
    readme = (output / "README.md").read_text()
    assert "# model, pruned" in readme
    assert ("AutoModel" in readme) or ("cannot load it" in readme) or ("transformers 4" in readme)
    built = call(
        "build", output, "-t", "x86-64", "-o", tmp_path / "dist", "--recipe",
        write(output, ""), "--json",
    )  # fmt: skip
    assert built.exit_code == 0, built.stderr
    assert json.loads(built.stdout)[0]["mean"] > 0.9


def test_the_line_for_people(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """Where it is, how large, how near; a second run takes the first one's place."""
    path = write(checkpoint("distilbert"))
    for _ in range(2):
        done = call("prune", path, "-o", tmp_path / "out")
        assert done.exit_code == 0, done.stderr
        assert done.stdout.startswith(
            f"pruned: {tmp_path / 'out'}   0.1 MB of 0.1, cosine to dense"
        )


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_cut_vocabulary_is_written(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path, family: str
) -> None:
    """Table, config.json and tokenizer.json agree, and the corpus is answered as before."""
    texts = tmp_path / "texts.txt"
    texts.write_text("the of and\nto in is that\nfor it as with be\n" * 40)
    folder = checkpoint(family, sep_token_id=2 + (family == "bert"), mask_token_id=4)
    (folder / "vocab.txt").write_text("old")
    wishes = 'vocabulary = "texts.txt"\n'
    data = '[calibration]\ndata = "texts.txt"\nsamples = 16\n'
    row = one(call("prune", write(folder, wishes, data), "-o", tmp_path / "out", "--json"))
    assert row["accuracy"]["min"] == pytest.approx(1, abs=1e-6)
    after = row["vocabulary"]["after"]
    assert after < row["vocabulary"]["before"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["vocab_size"] == after
    tokenizer = Tokenizer.from_file(str(tmp_path / "out" / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == after
    assert config["sep_token_id"] == tokenizer.token_to_id("[SEP]")
    assert not (tmp_path / "out" / "vocab.txt").exists()
    assert f"tokens: {after} of" in (tmp_path / "out" / "README.md").read_text()


def test_a_foreign_model_becomes_an_onnx_file(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """A line says so; it is exported anew with the widths that were left."""
    folder = checkpoint("bert", sentence_transformers=True)
    plain = run_stage("lower/exchange", export(find_source(folder)), {}, None)
    ir.save(plain, folder / "plain.onnx")
    done = call("prune", write(folder / "plain.onnx"), "-o", tmp_path / "out", "--json")
    assert "plain is written as an .onnx alone" in done.stderr
    row = one(done)
    assert kept(row, "channels") == (96, 128)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.onnx", "tokenizer.json", "edgecompile.json", "README.md"}
    before, after = (
        json.loads(call("inspect", path, "--json").stdout)
        for path in (folder / "plain.onnx", tmp_path / "out")
    )
    assert after["size_bytes"] < before["size_bytes"]
    assert sum(group["kept"] for r in after["widths"] for group in r["channels"]) == 96
    assert before["widths"] == []
    again = float_model(find_source(tmp_path / "out" / "model.onnx"), Trace())
    found = compare_widths(again, again)
    assert sum(group["units"] for group in found.values() if group["kind"] == "heads") == 6


def train(folder: Path, path: Path, student: Path) -> dict[str, Any]:
    """Write a student as `edgecompile distill` does, of other widths in each layer."""
    wishes, source = recipe.read(path), find_source(folder)
    dense = export(source)
    keep = {FFN.format(0): range(40), FFN.format(1): range(20, 40)}
    narrow = remove_units(dense, find_groups(dense).found, keep)
    student.mkdir()
    ir.save(narrow, student / "student.onnx")
    record: dict[str, Any] = {
        "sha256": {str(p.relative_to(folder)): files.sha256(p) for p in source.files},
        "prune": asdict(wishes.prune),
        "distill": asdict(wishes.distill),
        "groups": compare_widths(dense, narrow),
        "before": {},
        "after": {},
        "files": {"student.onnx": files.sha256(student / "student.onnx")},
        "metric": "cosine",
        "steps": 1,
    }
    (student / "student.json").write_text(json.dumps(record))
    return record


def test_a_trained_student_is_written(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """With [distill] in the recipe it is that one; transformers cannot load what differs."""
    folder = checkpoint("bert")
    path = write(folder, "ffn = 0.5\n", "[distill]\n")
    record = train(folder, path, tmp_path / "student")
    row = one(call("prune", path, "-o", tmp_path / "out", "--json"))
    assert row["groups"] == record["groups"]
    assert row["transformers_loads_it"] is False
    assert "transformers cannot load it" in (tmp_path / "out" / "README.md").read_text()
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["edgecompile"] == {"channels": {FFN.format(0): 40, FFN.format(1): 20}}
    assert call("inspect", tmp_path / "student").stdout.count("40 of 64") == 1
    built = call("build", "--recipe", path, "-t", "x86-64", "-o", tmp_path / "dist")
    assert built.exit_code == 0, built.stderr
    shown = call("inspect", tmp_path / "dist" / "model-x86-64").stdout
    assert "20 of 64" in shown


def test_a_recipe_that_cuts_nothing_is_told(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """One line, and nothing is written."""
    done = call("prune", write(checkpoint(), ""), "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        "error: the recipe removes nothing: say in [prune] what is to go: ffn, heads or vocabulary"
    )
    assert not (tmp_path / "out").exists()


def test_a_recipe_without_a_model_is_told(tmp_path: Path) -> None:
    """It has to name one: there is no other place for it."""
    path = tmp_path / "edgecompile.toml"
    path.write_text("[prune]\nffn = 0.5\n")
    done = call("prune", path, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "the recipe names no model" in done.stderr


def test_the_gate_holds_here_too(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """A model below it is not written; exit code 3."""
    path = write(checkpoint(), "ffn = 0.7\nsamples = 16\nrepair = false\n")
    path.write_text(path.read_text().replace("cosine_mean = 0.3", "cosine_mean = 0.99999"))
    done = call("prune", path, "-o", tmp_path / "out")
    assert done.exit_code == 3, done.stderr
    assert "units were pruned" in done.stderr
    assert not (tmp_path / "out").exists()


def test_other_folders_are_left_alone(
    checkpoint: Callable[..., Path], write: Callable[..., Path], tmp_path: Path
) -> None:
    """The model's own, also where it was pruned before, and one with other files."""
    folder = checkpoint()
    (folder / "edgecompile.json").write_text("{}")
    done = call("prune", write(folder), "-o", folder)
    assert done.exit_code == 1
    assert "is where the model itself lies" in done.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    done = call("prune", write(folder), "-o", tmp_path / "mine")
    assert done.exit_code == 1
    assert "is there already and is no pruned model" in done.stderr
