"""What `edgecompile distill` says before any training, torch or not."""

import importlib.util
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecompile.cli.main import cli
from edgecompile.errors import RecipeError
from edgecompile.recipe import read


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_the_extra_is_named(tmp_path: Path) -> None:
    """One line, with the command that installs it."""
    path = tmp_path / "edgecompile.toml"
    path.write_text('[model]\nsource = "model"\n')
    done = CliRunner().invoke(cli, ["distill", str(path)])
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == (
        "error: distill trains with torch, and 'torch' is missing: pip install"
        " 'edgecompile[distill]'"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("learning_rate = 0.0", "[distill] learning_rate: must be more than 0"),
        ("held_out = 2", "[distill] held_out: must be at least 8"),
        ("warmup = 1.5", "[distill] warmup: is a share of the steps, 0 to 1"),
        ('parallel = "model"', "'model' is not known; known: data, parameters"),
        ('parallel = "parameters"\ncompress = "fp16"', 'with parallel = "data" alone'),
        ("outputs = -1.0", "[distill] outputs: must be at least 0"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, line: str, message: str) -> None:
    """With its table, its key, and what is known."""
    path = tmp_path / "edgecompile.toml"
    path.write_text(f"[distill]\n{line}\n")
    with pytest.raises(RecipeError) as raised:
        read(path)
    assert message in str(raised.value)
