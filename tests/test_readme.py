"""The README keeps its word: its commands run, its recipe is read, its tables are true."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from edgecompile import recipe, target

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (\.venv/bin/edgecompile .*)$", TEXT, re.MULTILINE)


def recipe_text() -> str:
    """Return the README's recipe."""
    (text,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    return str(text)


def test_the_recipe_is_valid(tmp_path: Path) -> None:
    """Every table and key of it is known."""
    path = tmp_path / "edgecompile.toml"
    path.write_text(recipe_text())
    assert recipe.read(path).targets.names == ("x86-64", "raspberry-pi-5")


def test_the_table_of_targets_is_complete() -> None:
    """Every target file has its line, and no other."""
    boards = TEXT.partition("## Your own board")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|", boards, re.MULTILINE)
    assert sorted(rows) == target.names()


def test_make_targets_exist() -> None:
    """Every `make` command that is named is in the Makefile, and CI runs it."""
    named = set(re.findall(r"make ([a-z-]+)", TEXT))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for name in named:
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name
        assert re.search(rf"^make {name}\b", ci, re.MULTILINE), name


@pytest.mark.slow
def test_every_command_runs(minilm: Path, tmp_path: Path) -> None:
    """In order, in a folder with the model, the data and the recipe, each exits with 0."""
    assert len(COMMANDS) >= 8
    (tmp_path / minilm.parent.name).symlink_to(minilm.parent)
    for name in (".venv", "calibration_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "edgecompile.toml").write_text(recipe_text())
    for line in COMMANDS:
        words = shlex.split(line, comments=True)
        if ">" in words:
            words = words[: words.index(">")]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, line + done.stderr
