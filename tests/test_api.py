"""The Python interface: its examples are run as they are written."""

import doctest
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import edgecompile
from edgecompile import api
from edgecompile.errors import BudgetError, RecipeError

MODULES = ("api", "bundles.read_bundle", "budgets.table", "budgets.judge", "compare.change")
MODULES += ("compare.significance", "report.finding")


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_hold(name: str, built: Path, tmp_path: Path) -> None:
    """With a tiny model, its recipe and its bundle under the names that they use."""
    module = importlib.import_module(f"edgecompile.{name}")
    given = {
        "model": built / "model",
        "recipe": built / "edgecompile.toml",
        "bundle": str(built / "model-x86-64"),
        "dist": tmp_path,
    }
    if name == "api":  # its check shows the limits that it is given, and those of no recipe
        given["bundle"] = str(without_budget(built, tmp_path))
    found = doctest.testmod(module, extraglobs=given)
    assert (found.failed, found.attempted > 0) == (0, True)


def without_budget(built: Path, place: Path) -> Path:
    """Build the tiny model once more, with no budget."""
    recipe = place / "plain.toml"
    recipe.write_text("[profile]\nsequence = [8]\nrepeats = 1\n[gate]\ncosine_mean = 0.9\n")
    (made,) = edgecompile.build(
        built / "model", targets=["x86-64"], recipe=recipe, output=place / "plain"
    )
    return made.folder


def test_a_bundle_over_budget_raises_and_stands(
    built: Path, tmp_path: Path, checkpoint: Callable[..., Path]
) -> None:
    """The error has the verdicts; its exit code is the command line's."""
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text((built / "edgecompile.toml").read_text().replace("1.0", "0.01"))
    with pytest.raises(BudgetError) as caught:
        edgecompile.build(checkpoint(), targets=["aarch64"], recipe=recipe, output=tmp_path / "d")
    assert caught.value.exit_code == 3
    assert [verdict.check for verdict in caught.value.found] == ["size_mb"]
    verdicts = edgecompile.check(tmp_path / "d" / "model-aarch64")
    assert [verdict.holds for verdict in verdicts] == [False, True]


def test_what_is_missing_is_asked_for() -> None:
    """As the command line does."""
    with pytest.raises(RecipeError, match="give a model"):
        api.build(targets=["x86-64"])
    with pytest.raises(RecipeError, match="give at least one target"):
        api.build("somewhere")


def test_importing_the_package_is_instant() -> None:
    """Only what is asked for is imported, and then without a runtime."""
    code = (
        "import sys, edgecompile; assert 'numpy' not in sys.modules; edgecompile.check;"
        "print([m for m in ('onnxruntime', 'rich', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'biuld'"):
        _ = edgecompile.biuld  # type: ignore[attr-defined]
