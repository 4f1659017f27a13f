"""A build with [distill] takes the trained student, and says in one line why it does not."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner

from edgecompile import files
from edgecompile.cli.main import cli
from edgecompile.errors import ModelError
from edgecompile.export.read_model import Source, export, find_source
from edgecompile.narrow.read_student import read_student
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.remove_units import remove_units
from edgecompile.recipe import DistillTable, PruneTable, Recipe

FOUND = {"mean": 0.5, "min": 0.4, "signal": 0.3}
KEPT = 40
CHECKED = (PruneTable(ffn=0.5), DistillTable(steps=2))


@pytest.fixture
def source(checkpoint: Callable[..., Path]) -> Source:
    """Return a tiny BERT."""
    return find_source(checkpoint())


@pytest.fixture
def recipe(source: Source, tmp_path: Path) -> Recipe:
    """Return a recipe whose student lies in student/, as `edgecompile distill` leaves it."""
    prune, distill = CHECKED
    recipe = Recipe(prune=prune, distill=distill, folder=tmp_path, distils=True)
    dense = export(source)
    groups = [group for group in find_groups(dense).found if group.kind == "channels"]
    folder = tmp_path / "student"
    folder.mkdir()
    keep = {group.name: range(KEPT) for group in groups}
    ir.save(remove_units(dense, groups, keep), folder / "student.onnx")
    record = {
        "sha256": {str(p.relative_to(source.folder)): files.sha256(p) for p in source.files},
        "prune": asdict(prune),
        "distill": asdict(distill),
        "before": FOUND,
        "after": FOUND,
        "metric": "cosine",
        "steps": 2,
        "files": {"student.onnx": files.sha256(folder / "student.onnx")},
    }
    write(folder, record)
    return recipe


def write(folder: Path, record: Any) -> None:
    """Write a student.json."""
    (folder / "student.json").write_text(json.dumps(record), encoding="utf-8")


def message(source: Source, recipe: Recipe) -> str:
    """Return the error's one line."""
    with pytest.raises(ModelError) as raised:
        read_student(source, recipe)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_student_and_what_the_manifest_says_of_it(source: Source, recipe: Recipe) -> None:
    """Its graph is the narrower one; hashes are not told twice."""
    model, told = read_student(source, recipe)
    widths = {group.units for group in find_groups(model).found if group.kind == "channels"}
    assert widths == {KEPT}
    assert told.keys() == {"prune", "distill", "before", "after", "metric", "steps", "groups"}
    assert told["after"] == FOUND


def test_what_a_build_or_a_resumed_training_may_change(source: Source, recipe: Recipe) -> None:
    """The vocabulary, how often a checkpoint is written, how a batch is put together."""
    prune = replace(recipe.prune, vocabulary="texts.txt", vocabulary_min_count=2)
    distill = replace(recipe.distill, checkpoint_every=7, batch=16, accumulate=2)
    read_student(source, replace(recipe, prune=prune, distill=distill))


def test_no_student_yet(source: Source, recipe: Recipe) -> None:
    """What to run is named."""
    other = replace(recipe, distill=replace(recipe.distill, student="other"))
    found = message(source, other)
    assert found.endswith(
        "other/student.json: no student was trained; run `edgecompile distill` with this recipe"
        " first"
    )


def test_the_student_of_another_model(
    source: Source, recipe: Recipe, checkpoint: Callable[..., Path]
) -> None:
    """A model with other weights, or the same one whose config.json was changed."""
    other = find_source(checkpoint(name="other", num_hidden_layers=1))
    assert f"student: is the student of another model than {other.path}" in message(other, recipe)
    config = source.folder / "config.json"
    config.write_text(config.read_text() + "\n")
    assert "another model than" in message(find_source(source.folder), recipe)


@pytest.mark.parametrize(
    ("prune", "distill", "wanted"),
    [
        ({"ffn": 0.25}, {}, "[prune] ffn was 0.5, the recipe says 0.25"),
        ({"heads": 0.5}, {}, "[prune] heads was 0.0, the recipe says 0.5"),
        ({}, {"steps": 3}, "[distill] steps was 2, the recipe says 3"),
        ({}, {"labels": "y.npy"}, '[distill] labels was "", the recipe says "y.npy"'),
        ({}, {"batch": 64}, "[distill] batch x accumulate was 32, the recipe says 64"),
    ],
)
def test_the_student_of_another_recipe(
    source: Source,
    recipe: Recipe,
    prune: dict[str, Any],
    distill: dict[str, Any],
    wanted: str,
) -> None:
    """The key that differs, both values, the command."""
    other = replace(
        recipe, prune=replace(recipe.prune, **prune), distill=replace(recipe.distill, **distill)
    )
    assert f"{wanted}; run `edgecompile distill` with this recipe first" in message(source, other)


def test_a_file_that_was_changed_since(source: Source, recipe: Recipe, tmp_path: Path) -> None:
    """One byte more, or the file gone."""
    path = tmp_path / "student" / "student.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    wanted = "student.onnx: is not the file that was trained; run `edgecompile distill`"
    assert wanted in message(source, recipe)
    path.unlink()
    assert wanted in message(source, recipe)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "[" * 100_000,
        '{"metric": "cosine", "steps": 2}',
        " " * (1 << 22) + "{}",
    ],
)
def test_a_record_that_distill_did_not_write(
    source: Source, recipe: Recipe, tmp_path: Path, text: str
) -> None:
    """Not JSON, not a table, too deep, too large, or without what it must say."""
    (tmp_path / "student" / "student.json").write_text(text)
    assert "student.json: is not what `edgecompile distill` writes" in message(source, recipe)


def test_a_record_that_vouches_for_no_graph(source: Source, recipe: Recipe, tmp_path: Path) -> None:
    """A student without its hash is none, and a file's name leads to no other folder."""
    folder = tmp_path / "student"
    record = json.loads((folder / "student.json").read_text())
    write(folder, record | {"files": {}})
    assert "is not what `edgecompile distill` writes" in message(source, recipe)
    np.save(tmp_path / "outside.npy", np.zeros(1))
    outside = {"../outside.npy": files.sha256(tmp_path / "outside.npy")}
    write(folder, record | {"files": record["files"] | outside})
    assert "student/outside.npy: is not the file that was trained" in message(source, recipe)


def test_build_says_so_and_writes_nothing(source: Source, tmp_path: Path) -> None:
    """From the command line: exit code 1, the last line names the command to run."""
    path = tmp_path / "edgecompile.toml"
    path.write_text(f'[model]\nsource = "{source.path}"\n[prune]\nffn = 0.5\n[distill]\n')
    command = ["build", "--recipe", str(path), "-t", "x86-64", "-o", str(tmp_path / "dist")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 1
    assert re.fullmatch(
        r"error: \S+/student/student\.json: no student was trained; run `edgecompile distill` with"
        r" this recipe first",
        done.stderr.splitlines()[-1],
    )
    assert not (tmp_path / "dist").exists() or not list((tmp_path / "dist").iterdir())
