"""`verify`: nothing missing, nothing changed, nothing added."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgecompile.bundles.pack_bundle import pack_bundle
from edgecompile.bundles.verify_bundle import verify_bundle
from edgecompile.errors import BundleError


def test_a_whole_bundle_is_verified(bundle: Path) -> None:
    """With what smoke.py writes beside itself; it says that nobody has signed."""
    (bundle / "measured.json").write_text("{}")
    verified = verify_bundle(bundle)
    assert verified.name == "model-x86-64"
    assert verified.files == len(list(bundle.iterdir())) - 1
    assert verified.line().endswith("and no other; not signed")


def test_a_file_that_no_build_wrote_is_refused(bundle: Path) -> None:
    """Python would import numpy.py, and read what __pycache__ has of watts.py."""
    for name in ("numpy.py", "a\x1b[31m"):
        path = bundle / name
        path.write_text("")
        with pytest.raises(BundleError, match="is none of the bundle's files; remove it") as caught:
            verify_bundle(bundle)
        assert str(caught.value).isprintable()
        path.unlink()
    (bundle / "__pycache__").mkdir()
    with pytest.raises(BundleError, match="__pycache__: is none of the bundle's files"):
        verify_bundle(bundle)


def test_a_folder_within_is_verified_too(bundle: Path, reseal: Callable[..., None]) -> None:
    """A Core ML package is one: its files are named, another beside them is refused."""
    inner = bundle / "model.mlpackage" / "Data"
    inner.mkdir(parents=True)
    (inner / "weights.bin").write_bytes(b"1")
    name = "model.mlpackage/Data/weights.bin"
    reseal(bundle, manifest=lambda table: table["files"].update({name: ""}))
    assert verify_bundle(bundle).files
    assert verify_bundle(pack_bundle(bundle)).files
    (inner / "more.bin").touch()
    with pytest.raises(BundleError, match=r"Data/more\.bin: is none of the bundle's files"):
        verify_bundle(bundle)


def test_a_changed_byte_is_refused(bundle: Path) -> None:
    """The file is named."""
    path = bundle / "smoke.py"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(BundleError, match=r"smoke\.py: is not the file that was built"):
        verify_bundle(bundle)
