"""Packed bundles: the same bytes everywhere, and no archive can do harm."""

import os
import shutil
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecompile.bundles.check_bundles import Wishes, check_bundle
from edgecompile.bundles.open_bundle import open_bundle
from edgecompile.bundles.pack_bundle import pack_bundle
from edgecompile.bundles.verify_bundle import verify_bundle
from edgecompile.errors import BundleError


def test_the_same_bundle_packs_to_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    """Whatever the folder is called, by whom, when and under which umask and locale."""
    first = pack_bundle(bundle)
    assert first == bundle.with_name("model-x86-64.zip")
    other = Path(shutil.copytree(bundle, tmp_path / "deep" / "other name"))
    for path in other.iterdir():
        path.chmod(0o600)
        os.utime(path, (0, 0))
    (other / "measured.json").write_text("{}")
    code = (
        "import os, sys; os.umask(0o077); from pathlib import Path;"
        "from edgecompile.bundles.pack_bundle import pack_bundle;"
        "pack_bundle(Path('other name'), Path('second.zip'))"
    )
    env = {**os.environ, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
    subprocess.run([sys.executable, "-c", code], cwd=other.parent, env=env, check=True)
    assert (other.parent / "second.zip").read_bytes() == first.read_bytes()


def test_a_packed_bundle_is_verified_checked_and_run(bundle: Path, tmp_path: Path) -> None:
    """As any unzip lays it out: smoke.py may be executed, nothing else."""
    path = pack_bundle(bundle, tmp_path / "b.zip")
    assert verify_bundle(path).name == "model-x86-64"
    assert [v.check for v in check_bundle(path, Wishes())] == ["size_mb", "cosine_min"]
    with open_bundle(path) as folder:
        runs = {p.name for p in folder.iterdir() if os.access(p, os.X_OK) and p.stat().st_mode & 1}
        assert runs == {"smoke.py"}
    with zipfile.ZipFile(path) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
    assert {name for name, mode in modes.items() if mode & 0o111} == {"model-x86-64/smoke.py"}
    assert not folder.exists()


def test_a_changed_byte_in_an_archive_is_told(bundle: Path, tmp_path: Path) -> None:
    """By the archive's own sums, or by the manifest's, which name the file."""
    path = pack_bundle(bundle, tmp_path / "b.zip")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"b\.zip: is no \.zip, or a damaged one \(Bad CRC"):
        verify_bundle(path)
    (bundle / "smoke.py").write_text("")
    archive(path, lambda z: [z.write(p, f"m/{p.name}") for p in sorted(bundle.iterdir())])
    with pytest.raises(BundleError, match=r"b\.zip: m/smoke\.py: is not the file that was built"):
        verify_bundle(path)


def archive(path: Path, fill: Callable[[zipfile.ZipFile], object], method: int = 0) -> None:
    """Write an archive that is not pack's."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as made:
        warnings.simplefilter("ignore")  # names twice
        fill(made)


def link() -> zipfile.ZipInfo:
    """Return a member that is a symbolic link."""
    info = zipfile.ZipInfo("m/link")
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info


@pytest.mark.parametrize(
    ("fill", "told"),
    [
        (lambda z: z.writestr("m/../../outside", ""), "no file of one plain folder"),
        (lambda z: z.writestr("/etc/passwd", ""), "no file of one plain folder"),
        (lambda z: z.writestr("m/deep/../file", ""), "no file of one plain folder"),
        (lambda z: z.writestr("m//file", ""), "no file of one plain folder"),
        (lambda z: [z.writestr(n, "") for n in ("m/a", "m/a/b")], "a file that is a folder too"),
        (lambda z: z.writestr("file", ""), "no file of one plain folder"),
        (lambda z: [z.writestr(n, "") for n in ("m/a", "n/a")], "no file of one plain folder"),
        (lambda z: [z.writestr("m/a", t) for t in ("1", "2")], "holds a file twice"),
        (lambda z: z.writestr(link(), "/etc/passwd"), "m/link: is no plain, stored file"),
        (lambda z: z.writestr("m/a", "0" * 10**6, zipfile.ZIP_DEFLATED), "no plain, stored file"),
        (lambda z: [z.writestr(f"m/f{n}", "") for n in range(1003)], "holds 1003 files"),
        (lambda _: None, "holds 0 files"),
        (lambda z: z.writestr("m/manifest.json", "{}"), "b.zip: m/manifest.json: has no schema"),
    ],
)
def test_a_hostile_archive_is_refused(
    fill: Callable[[zipfile.ZipFile], object], told: str, tmp_path: Path
) -> None:
    """Paths that lead out, links, bombs: one line, and nothing is written outside."""
    before = set(tmp_path.parent.iterdir())
    path = tmp_path / "b.zip"
    archive(path, fill)
    with pytest.raises(BundleError) as caught:
        verify_bundle(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert set(tmp_path.parent.iterdir()) == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    """Cut off, or something else."""
    path = tmp_path / "b.zip"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(BundleError, match=r"b\.zip: is no \.zip, or a damaged one"):
        verify_bundle(path)
