"""Environments of vendor compilers: made once, whole or not at all, from a hash lock."""

import base64
import hashlib
import platform
import threading
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecompile.cli.main import cli
from edgecompile.errors import ToolchainError, UnknownNameError
from edgecompile.toolchain import venv
from edgecompile.toolchain.call import call

METADATA = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\nLicense: MIT\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a cache of its own."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of toolchains that holds one, whose wheel lies beside it."""
    folder = tmp_path / "toolchains"
    folder.mkdir()
    wheel = _wheel(folder)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "tiny.txt").write_text(f"tiny==1.0 --hash=sha256:{digest}\n")
    (folder / "tiny.toml").write_text(
        'what = "a compiler"\npackage = "tiny"\nversion = "1.0"\nlicence = "MIT"\n'
        f'imports = "tiny"\nmachines = ["{platform.machine()}"]\ndownload_mb = 1\n'
    )
    monkeypatch.setattr(venv, "FOLDER", folder)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _wheel(folder: Path, name: str = "tiny") -> Path:
    """Write a wheel of one module."""
    about = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": "answer = 42\n",
        f"{about}/METADATA": METADATA.replace("tiny", name),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any",
    }
    record = ""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{file},sha256={digest.decode().rstrip('=')},{len(text)}\n"
        archive.writestr(f"{about}/RECORD", record)
    return path


def say(_stage: str, _line: str) -> None:
    """Say nothing."""


def test_every_toolchain_has_a_hash_lock() -> None:
    """Of each package a hash, and no registry's name."""
    for path in venv.FOLDER.glob("*.toml"):
        tool = venv.read_toolchain(path.stem)
        lock = path.with_suffix(".txt").read_text()
        assert f"{tool.package}=={tool.version}" in lock
        assert lock.count("--hash=sha256:") >= lock.count("==")
        assert "index-url" not in lock
        assert tool.licence


def test_what_no_lock_can_hold_is_installed_apart(tiny: Path) -> None:
    """As torch is: of one version, from wherever pip is told; it is in the record, and checked."""
    _wheel(tiny, "heavy")
    description = tiny / "tiny.toml"
    description.write_text(
        description.read_text().replace('imports = "tiny"', 'imports = "tiny, heavy"')
        + 'apart = "heavy==1.0"\n'
    )
    venv.open_venv("tiny", say)
    record = venv.installed("tiny")
    assert record is not None
    assert [row["name"] for row in record["packages"]] == ["heavy", "tiny"]
    assert venv.check_venv("tiny") is None


def test_it_is_made_once_by_two_that_ask_at_the_same_time(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both get the same Python; pip ran once; the module loads; the licence is recorded."""
    installs: list[object] = []
    found: list[Path] = []

    def count(command: list[object], *rest: object, **named: object) -> str:
        if "install" in command:
            installs.append(command)
        return call(command, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(venv, "call", count)
    asking = [
        threading.Thread(target=lambda: found.append(venv.open_venv("tiny", say))) for _ in range(2)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert tiny.is_dir()
    assert len(found) == 2
    assert len(set(found)) == len(installs) == 1
    assert call([found[0], "-I", "-c", "import tiny; print(tiny.answer)"], 60).strip() == "42"
    record = venv.installed("tiny")
    assert record is not None
    assert record["packages"] == [{"name": "tiny", "version": "1.0", "licence": "MIT"}]
    assert venv.check_venv("tiny") is None
    assert venv.remove_venv("tiny")
    assert venv.installed("tiny") is None


def test_a_package_that_is_not_the_locked_one_is_refused(tiny: Path, cache: Path) -> None:
    """Nothing is left of the try."""
    lock = tiny / "tiny.txt"
    text = lock.read_text().rstrip()
    lock.write_text(text[:-1] + ("1" if text[-1] == "0" else "0") + "\n")
    with pytest.raises(ToolchainError, match="tiny is not installed"):
        venv.open_venv("tiny", say)
    assert not [path for path in (cache / "toolchains").iterdir() if path.is_dir()]


def test_without_a_network_the_line_says_the_command(
    monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    """And what else would do."""
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    assert tiny.is_dir()
    with pytest.raises(ToolchainError) as caught:
        venv.open_venv("tiny", say)
    assert "edgecompile toolchain install tiny" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "answer", "said"),
    [
        ("machine", "riscv64", "this host is riscv64"),
        ("libc_ver", ("glibc", "2.31"), "needs glibc 2.35 or newer; this host has glibc 2.31"),
        ("libc_ver", ("", ""), "needs glibc 2.35 or newer; this host has another C library"),
    ],
)
def test_a_host_that_cannot_run_it_is_told_why(
    function: str, answer: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is fetched."""
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, function, lambda: answer)
    with pytest.raises(ToolchainError, match=said):
        venv.open_venv("qnn", say)


def test_commands_list_check_and_name_what_is_unknown(tiny: Path) -> None:
    """List and doctor need no network; a wrong name lists the right ones."""
    assert tiny.is_dir()
    listed = CliRunner().invoke(cli, ["toolchain", "list"])
    assert "tiny 1.0: not installed" in listed.output
    assert "licence: MIT" in listed.output
    assert "tiny: not installed" in CliRunner().invoke(cli, ["toolchain", "doctor"]).output
    with pytest.raises(UnknownNameError, match="known: tiny"):
        venv.read_toolchain("qnm")
