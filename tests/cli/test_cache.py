"""`edgecompile cache`: what it says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecompile.cache.store import Store
from edgecompile.cli.main import cli


def call(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, ["cache", *(str(a) for a in arguments)])


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a cache with two entries of some 2 kB, and what a killed build has left."""
    folder = tmp_path / "stages"
    monkeypatch.setenv("EDGECOMPILE_STAGES", str(folder))
    store = Store(folder, 10**6)
    for name in ("plan-1", "float-2"):
        store.keep(name, lambda place: (place / "0").write_bytes(b"0" * 2000) and None)
    (folder / ".new-left").mkdir()
    return store


def test_info_tells_what_is_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder, its size and its limit, entries by stage; the same as JSON."""
    monkeypatch.setenv("EDGECOMPILE_CACHE_SIZE", "3 MB")
    lines = call("info").stdout.splitlines()
    assert lines[0] == f"{store.folder}: 0.0 MB of 3.0 MB"
    assert [line.split()[:2] for line in lines[1:]] == [["float", "1"], ["plan", "1"]]
    told = json.loads(call("info", "--json").stdout)
    assert (told["folder"], told["limit_bytes"]) == (str(store.folder), 3_000_000)
    assert told["bytes"] == sum(entry.bytes for entry in store.entries()) > 4000
    assert told["stages"]["plan"]["entries"] == 1


@pytest.mark.parametrize(
    ("command", "gone", "left"),
    [
        (["prune"], 0, ["float-2", "plan-1"]),
        (["prune", "--size", "3 kB"], 1, ["float-2"]),
        (["clear"], 2, []),
    ],
)
def test_prune_and_clear_tell_what_went(
    command: list[str], gone: int, left: list[str], store: Store
) -> None:
    """With what a killed build has left."""
    said = call(*command).stdout
    assert said.startswith(f"{store.folder}: removed {gone} entries, 0.0 MB")
    assert said.endswith(", and 1 folder(s) of killed builds\n")
    assert sorted(path.name for path in store.folder.iterdir()) == left


def test_an_empty_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first build."""
    monkeypatch.setenv("EDGECOMPILE_STAGES", str(tmp_path / "none"))
    assert call("info").stdout == f"{tmp_path / 'none'}: 0.0 MB of 10,000.0 MB\n"
    assert call("clear").stdout == f"{tmp_path / 'none'}: removed 0 entries, 0.0 MB\n"


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (
            "EDGECOMPILE_STAGES",
            "off",
            "error: EDGECOMPILE_STAGES is 'off': no cache is kept; unset it\n",
        ),
        (
            "EDGECOMPILE_CACHE_SIZE",
            "much",
            "error: EDGECOMPILE_CACHE_SIZE: must look like '10 GB', found 'much'\n",
        ),
    ],
)
def test_a_wrong_variable_is_one_line(
    variable: str, value: str, message: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which one, and what it may be."""
    del store
    monkeypatch.setenv(variable, value)
    done = call("info")
    assert (done.exit_code, done.stderr) == (1, message)


def test_builds_can_do_without(
    checkpoint: Callable[..., Path], store: Store, tmp_path: Path
) -> None:
    """--no-cache takes nothing, and keeps what it made for later builds."""
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text("[profile]\nsequence = [8]\nrepeats = 1\n[gate]\ncosine_mean = 0.9\n")
    command = ["build", checkpoint(), "-t", "aarch64", "--recipe", recipe, "-o", tmp_path / "d"]

    def cached(*more: str) -> bool:
        done = CliRunner().invoke(cli, [str(a) for a in (*command, *more)])
        assert done.exit_code == 0, done.output
        return "] cached" in done.stderr

    assert [cached("--no-cache"), cached("--no-cache"), cached()] == [False, False, True]
    assert {entry.stage for entry in store.entries()} >= {"float", "plan", "artifact", "bundle"}
