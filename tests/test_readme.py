"""The README keeps its word: its commands run, its recipe is read, its tables are true."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from edgecompile import recipe, target
from edgecompile.emulate.userland import open_userland
from edgecompile.errors import EmulationError, FetchError

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (\.venv/bin/edgecompile .*)$", TEXT, re.MULTILINE)


RECIPES = dict(
    zip(
        ("edgecompile.toml", "pruned.toml", "distilled.toml", "budgets.toml"),
        re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL),
        strict=True,
    )
)
"""The README's recipes, by the names that its commands give them."""
SHORT = {"steps = 1400": "steps = 2\nsamples = 96\nheld_out = 32\nbatch = 8", "0.5": "0.1"}
"""What makes the training of the README one of seconds."""


def test_the_recipes_are_valid(tmp_path: Path) -> None:
    """Every table and key of them is known."""
    read = {}
    for name, text in RECIPES.items():
        (tmp_path / name).write_text(text)
        read[name] = recipe.read(tmp_path / name)
    assert read["edgecompile.toml"].targets.names == ("x86-64", "raspberry-pi-5")
    assert read["pruned.toml"].prune.cuts_units
    assert read["distilled.toml"].distils
    assert read["budgets.toml"].budget


def test_the_table_of_targets_is_complete() -> None:
    """Every target file has its line, and no other."""
    boards = TEXT.partition("## Your own board")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`[a-z0-9-]+`(?:, `[a-z0-9-]+`)*) \|", boards, re.MULTILINE)
    assert (
        sorted(name for cell in cells for name in re.findall(r"[a-z0-9-]+", cell)) == target.names()
    )


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
    """In order, in a folder with the model, the data and the recipes, each exits with 0."""
    assert len(COMMANDS) >= 10
    prepare(minilm, tmp_path)
    for line in COMMANDS:
        if "--emulate" not in line or emulates():
            run(line, tmp_path)


@pytest.mark.exporters
def test_the_training_runs_too(minilm: Path, tmp_path: Path) -> None:
    """Those that need torch, on fewer texts and for fewer steps."""
    commands = re.findall(r"^    (\.venv-export/bin/edgecompile .*)$", TEXT, re.MULTILINE)
    assert len(commands) == 2
    prepare(minilm, tmp_path)
    path = tmp_path / "distilled.toml"
    text = path.read_text().replace("heads = 0.25", "samples = 64")
    for long, short in SHORT.items():
        assert long in text
        text = text.replace(long, short)
    path.write_text(text)
    for line in commands:
        run(line, tmp_path)


def emulates() -> bool:
    """Say whether this host can emulate a board; set it up if it is not yet."""
    try:
        open_userland("aarch64", lambda _stage, _what: None)
    except (EmulationError, FetchError):
        return False
    return True


def prepare(minilm: Path, folder: Path) -> None:
    """Put into a folder what a clone of this repository has."""
    (folder / "models").mkdir()
    (folder / "models" / minilm.name).symlink_to(minilm.resolve())
    for name in (".venv", ".venv-export", "calibration_data"):
        (folder / name).symlink_to(ROOT / name)
    for name, text in RECIPES.items():
        (folder / name).write_text(text)


def run(line: str, folder: Path) -> None:
    """Run a command of the README; it must end with 0."""
    words = shlex.split(line, comments=True)
    if ">" in words:
        words = words[: words.index(">")]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, line + done.stderr
