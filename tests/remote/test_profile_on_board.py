"""`edgecompile profile BUNDLE --on ssh://...`: what a board measured is in the bundle."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.cli.main import cli
from edgecompile.files import sha256

HERE = sys.executable


def profile(bundle: Path, *arguments: object) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(cli, ["profile", str(bundle), *map(str, arguments)])


def test_its_numbers_are_in_the_profile(bundle: Path, far: Any) -> None:
    """Measured, on the board's name; the manifest holds the new hash; no address is kept."""
    done = profile(
        bundle, "--on", far.address, "--ssh-config", far.config, "--python", HERE,
        "--watts", "off", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    opened = read_bundle(bundle)
    numbers = opened.profile["numbers"]
    latencies = [n for n in numbers if n["name"] == "latency_p50"]
    assert {(n["kind"], n["model"], n["sequence"]) for n in latencies} == {
        ("measured", "artifact", 8)
    }
    assert opened.manifest["files"]["profile.json"] == sha256(bundle / "profile.json")
    assert opened.profile["host"]["governor"]
    assert far.user + "@" not in (bundle / "profile.json").read_text()
    assert json.loads(done.stdout)["kind"] == "measured"


@pytest.mark.slow
def test_its_energy_is_in_the_profile(bundle: Path, far: Any, tmp_path: Path) -> None:
    """A meter on the board that prints watts: joules of an inference, and who measured them."""
    meter = tmp_path / "my meter.py"
    meter.write_text("import time\nwhile 1:\n print('3.5 W', flush=True)\n time.sleep(0.05)\n")
    done = profile(
        bundle, "--on", far.address, "--ssh-config", far.config, "--python", HERE,
        "--watts", f"command:{HERE} '{meter}'",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (energy,) = [n for n in read_bundle(bundle).profile["numbers"] if n["name"] == "energy"]
    assert energy["kind"] == "measured"
    assert "3.50 W at work, 3.50 W idle" in energy["how"]
    assert 0 < energy["low"] <= energy["value"] <= energy["high"]
    assert "measured: on" in done.stdout


def test_a_failure_changes_nothing(bundle: Path, far: Any) -> None:
    """One line, exit code 1, and every file as before."""
    before = {path.name: sha256(path) for path in bundle.iterdir()}
    (far.folder / "known_hosts").unlink()
    done = profile(bundle, "--on", far.address, "--ssh-config", far.config)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("error: ssh://")
    assert {path.name: sha256(path) for path in bundle.iterdir()} == before


@pytest.mark.parametrize("words", [["--emulate", "--on", "ssh://pi"], ["--python", "python3"]])
def test_options_that_do_not_go_together(bundle: Path, words: list[str]) -> None:
    """Exit code 2, before anything runs."""
    assert profile(bundle, *words).exit_code == 2
