"""qemu and a userland are set up once, or one line says why they cannot be."""

import shutil
from pathlib import Path

import pytest

from edgecompile.emulate import userland as userlands
from edgecompile.emulate.userland import Userland, is_set_up, open_userland, runtime_versions
from edgecompile.errors import EmulationError


def test_a_host_that_cannot_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No qemu and no apt-get; nothing is left but the lock."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_set_up()
    with pytest.raises(EmulationError, match="no aarch64 userland can be set up: there is no apt-"):
        open_userland()
    assert all(path.suffix == ".lock" for path in (tmp_path / "cache").iterdir())


def test_other_systems_and_architectures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """qemu-user is Linux's; a userland has a name that is known."""
    with pytest.raises(EmulationError, match="no userland of riscv64 is known; known: aarch64, "):
        open_userland("riscv64")
    monkeypatch.setattr("sys.platform", "darwin")
    assert not is_set_up()
    with pytest.raises(EmulationError, match="qemu-user needs Linux, this host is darwin"):
        open_userland()


def test_a_qemu_that_is_too_old_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on PATH must know the newest core that boards have."""
    old = tmp_path / "qemu-aarch64"
    old.write_text("#!/bin/sh\necho Available CPUs: cortex-a53 max\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(shutil, "which", lambda name: str(old) if name == old.name else None)
    assert userlands._find_qemu("aarch64") is None  # noqa: SLF001 - what a full set-up would hide


@pytest.mark.slow
def test_what_is_set_up_says_what_it_is(userland: Userland) -> None:
    """The second time downloads nothing; the runtimes have versions."""
    assert is_set_up()
    said: list[tuple[str, str]] = []
    assert open_userland(say=lambda *line: said.append(line)) == userland
    assert said == []
    assert {"onnxruntime", "ai-edge-litert", "numpy", "libc6"} <= runtime_versions(userland).keys()


@pytest.mark.slow
def test_qemu_is_fetched_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, userland: Userland
) -> None:
    """Without root, beside the userland; it runs."""
    del userland  # its skip holds here too
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path))
    monkeypatch.setattr(userlands, "_find_qemu", lambda _architecture: None)
    qemu, libraries = userlands._open_qemu("aarch64", lambda *_: None)  # noqa: SLF001
    assert qemu.is_relative_to(tmp_path)
    assert userlands._version(qemu, libraries)[0].isdigit()  # noqa: SLF001
