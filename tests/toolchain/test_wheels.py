"""Wheels come by hash from a lock; pip does it, offline here."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from edgecompile.errors import FetchError
from edgecompile.toolchain.wheels import fetch_wheels, lock_path, manylinux

METADATA = "Metadata-Version: 2.1\nName: demo\nVersion: 1\n"
TAGS = "Wheel-Version: 1.0\nTag: cp39-abi3-manylinux_2_28_aarch64\n"


def write_wheel(folder: Path, *names: str) -> Path:
    """Write a wheel for 64-bit ARM with some files."""
    path = folder / "demo-1-cp39-abi3-manylinux_2_28_aarch64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo-1.dist-info/METADATA", METADATA)
        archive.writestr("demo-1.dist-info/WHEEL", TAGS)
        archive.writestr("demo-1.dist-info/RECORD", "")
        for name in names:
            archive.writestr(name, "value = 1\n")
    return path


def write_lock(folder: Path, wheel: Path, digest: str = "") -> Path:
    """Write a lock that names the wheel and a hash."""
    path = folder / "lock.txt"
    digest = digest or hashlib.sha256(wheel.read_bytes()).hexdigest()
    path.write_text(f"demo @ {wheel.as_uri()} --hash=sha256:{digest}\n")
    return path


def test_a_wheel_is_unpacked_and_recorded(tmp_path: Path) -> None:
    """Another machine's wheel lies below the folder; its hash is kept."""
    wheel = write_wheel(tmp_path, "demo/__init__.py")
    into = tmp_path / "site"
    (found,) = fetch_wheels(write_lock(tmp_path, wheel), manylinux("aarch64", 36), "3.11", into)
    assert found.sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert (into / "demo/__init__.py").is_file()
    assert json.loads((into / "wheels.json").read_text())[0]["file"] == wheel.name


def test_another_hash_is_refused(tmp_path: Path) -> None:
    """What is not the file of the lock is not unpacked."""
    lock = write_lock(tmp_path, write_wheel(tmp_path, "demo/__init__.py"), "0" * 64)
    with pytest.raises(FetchError, match=r"python.* failed: ERROR: THESE PACKAGES DO NOT MATCH"):
        fetch_wheels(lock, manylinux("aarch64", 36), "3.11", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_an_older_glibc_is_refused(tmp_path: Path) -> None:
    """A wheel for glibc 2.28 does not go into a userland with 2.27."""
    lock = write_lock(tmp_path, write_wheel(tmp_path, "demo/__init__.py"))
    with pytest.raises(FetchError, match="is not a supported wheel"):
        fetch_wheels(lock, manylinux("aarch64", 27), "3.11", tmp_path / "site")


def test_a_name_that_leads_outside_is_refused(tmp_path: Path) -> None:
    """However right its hash is."""
    lock = write_lock(tmp_path, write_wheel(tmp_path, "../outside.py"))
    with pytest.raises(FetchError, match=r"'\.\./outside\.py' would lie outside"):
        fetch_wheels(lock, manylinux("aarch64", 36), "3.11", tmp_path / "site")
    assert not (tmp_path / "outside.py").exists()


def test_shipped_locks_have_hashes() -> None:
    """Each requirement of a lock in the package has at least one."""
    for path in lock_path("aarch64").parent.glob("*.txt"):
        rows = path.read_text().replace("\\\n", " ").splitlines()
        rows = [row for row in rows if row and not row.lstrip().startswith("#")]
        assert rows
        assert all("==" in row and "--hash=sha256:" in row for row in rows), path
