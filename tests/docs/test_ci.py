"""docs/ci.md: what people copy from it is valid, and names commands that exist."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from edgecompile import recipe as recipes
from edgecompile.budgets.table import Budget
from edgecompile.cli.main import cli

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
YAML = [text for kind, text in BLOCKS if kind == "yaml"]


@pytest.mark.parametrize(
    ("schema", "text"), [("vendor.github-workflows", YAML[0]), ("vendor.gitlab-ci", YAML[1])]
)
def test_the_workflows_follow_their_schemas(schema: str, text: str, tmp_path: Path) -> None:
    """Those of GitHub and GitLab, as check-jsonschema ships them; a wrong key would fail."""
    for name, content, code in (("good", text, 0), ("bad", f"{text}\njobs: 7\n", 1)):
        path = tmp_path / f"{name}.yml"
        path.write_text(content)
        done = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, path],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout


def test_every_command_and_option_exists() -> None:
    """Those in workflows and in the hook; a renamed option must be renamed there."""
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())[0]["entry"]
    lines = [line for text in YAML for line in text.splitlines()]
    found = [re.search(r"\bedgecompile [a-z]+\b.*", line) for line in [*lines, hook]]
    commands = [match[0] for match in found if match]
    assert {line.split()[1] for line in commands} == {"build", "check", "diff"}
    for line in commands:
        _, name, *words = shlex.split(line)
        known = {flag for option in cli.commands[name].params for flag in option.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_the_budgets_are_all_and_read(tmp_path: Path) -> None:
    """The example shows every key."""
    (text,) = (text for kind, text in BLOCKS if kind == "toml")
    path = tmp_path / "edgecompile.toml"
    path.write_text(text)
    assert recipes.read(path).budget.of("raspberry-pi-5").latency_ms == 30
    table = tomllib.loads(text)["budget"]
    keys = {*table, *table["raspberry-pi-5"]} - {"raspberry-pi-5"}
    assert keys == set(Budget.__dataclass_fields__)


def test_the_hook_checks_the_bundles_of_the_files_it_is_given(bundle: Path, tmp_path: Path) -> None:
    """As pre-commit calls it: with files, each bundle once; other files are passed over."""
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())[0]
    other = tmp_path / "smoke.py"
    other.write_text("")
    names = [
        path for path in (*bundle.iterdir(), other) if re.search(hook["files"], path.as_posix())
    ]
    assert len(names) >= 6
    command = shlex.split(hook["entry"])[1:]

    def run() -> Result:
        return CliRunner().invoke(cli, [*command, *map(str, names), "--no-github"])

    done = run()
    assert (done.exit_code, done.stdout.count("every file is the one that was built")) == (0, 1)
    (bundle / "model.onnx").write_bytes(b"")
    assert run().exit_code == 1
    names = [other]
    assert run().exit_code == 0
