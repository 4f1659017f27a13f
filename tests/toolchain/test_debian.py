"""Debian's packages are fetched by the host's apt-get, with a state of its own."""

import json
import shutil
from pathlib import Path

import pytest

from edgecompile.errors import FetchError
from edgecompile.toolchain.debian import fetch_debs

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="this host has no apt-get")


def test_a_host_without_apt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="there is no apt-get and no dpkg and no dpkg-deb here"):
        fetch_debs("arm64", ["zlib1g"], tmp_path / "root")


@needs_apt
@pytest.mark.slow
def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that is not there stands for a network that is not: nothing is left."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(FetchError, match=r"apt-get failed: E: .*arm64.* or cannot be reached"):
        fetch_debs("arm64", ["zlib1g"], tmp_path / "root")
    assert list(tmp_path.iterdir()) == []


@needs_apt
@pytest.mark.slow
def test_a_package_comes_with_what_it_needs(tmp_path: Path) -> None:
    """Of another architecture, unpacked, recorded with hashes; the host's apt is as it was."""
    before = sorted(Path("/var/lib/apt/lists").iterdir())
    try:
        debs = fetch_debs("arm64", ["zlib1g"], tmp_path / "root")
    except FetchError as error:
        pytest.skip(str(error))
    assert {"zlib1g", "libc6"} <= {deb.name for deb in debs}
    assert list((tmp_path / "root").rglob("libz.so.1"))
    record = json.loads((tmp_path / "root/debs.json").read_text())
    assert all(len(row["sha256"]) == 64 and row["version"] for row in record)
    assert sorted(Path("/var/lib/apt/lists").iterdir()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["root"]
