"""A bundle that is read back: believed only as far as it was checked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.errors import BundleError

Reseal = Callable[..., None]


def refusal(folder: Path) -> str:
    """Return why a bundle is refused: one line that names a file."""
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder))
    return message.removeprefix(str(folder))


def test_a_bundle_that_was_built_is_read(bundle: Path) -> None:
    """Its tables, and where its artifact lies; what a device wrote beside it does not matter."""
    (bundle / "measured.json").write_text("{}")
    read = read_bundle(bundle)
    assert read.name == "model-x86-64"
    assert read.artifact == bundle / "model.onnx"
    assert read.profile["numbers"]


def test_every_file_is_verified(bundle: Path) -> None:
    """One byte more in any of them is told in one line."""
    names = json.loads((bundle / "manifest.json").read_text())["files"]
    assert len(names) >= 5
    for name in names:
        path = bundle / name
        whole = path.read_bytes()
        path.write_bytes(whole + b"\n")
        assert refusal(bundle).startswith(f"/{name}: is not the file that was built: its hash")
        path.write_bytes(whole)
    read_bundle(bundle)


def test_a_missing_file_and_a_link_are_told(bundle: Path) -> None:
    """A link could point anywhere, at a device too."""
    artifact = bundle / "model.onnx"
    artifact.rename(bundle / "elsewhere.onnx")
    assert refusal(bundle).startswith("/model.onnx: is missing")
    artifact.symlink_to(bundle / "elsewhere.onnx")
    assert refusal(bundle).startswith("/model.onnx: is missing")


def test_a_folder_that_is_no_bundle_says_what_to_give(tmp_path: Path) -> None:
    """Also one that is not there."""
    assert "give the folder that `edgecompile build` wrote" in refusal(tmp_path)
    assert "give the folder that `edgecompile build` wrote" in refusal(tmp_path / "none")


@pytest.mark.parametrize("name", ["manifest", "profile"])
def test_a_newer_schema_asks_for_a_newer_edgecompile(
    name: str, bundle: Path, reseal: Reseal
) -> None:
    """It is not guessed what such a file means."""
    reseal(bundle, **{name: lambda table: table.update(schema=99)})
    assert refusal(bundle).startswith(f"/{name}.json: has schema 99, this edgecompile reads up to")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m["files"].update({"../outside": "0" * 64}), "which is no plain file name"),
        (lambda m: m["files"].update({"/etc/passwd": "0" * 64}), "which is no plain file name"),
        (lambda m: m["files"].update({"a\nb": "0" * 64}), "which is no plain file name"),
        (lambda m: m["files"].update({"x.bin": 7}), "has no SHA-256 of x.bin"),
        (lambda m: m["files"].update({f"f{n}": "" for n in range(1001)}), "more than 1000"),
        (lambda m: m.update(files=[]), "'files' is no table"),
        (lambda m: m.update(artifact="other.onnx"), "'files' has no hash of other.onnx"),
        (lambda m: m["golden"].update(file=["x"]), "has no hash of ['x']"),
        (lambda m: m.update(engine=None), "'engine' is no text"),
        (lambda m: m["accuracy"].update(mean=True), "no numbers 'mean' and 'min'"),
        (lambda m: m["accuracy"].update(mean=10**400), "no numbers 'mean' and 'min'"),
        (lambda m: m.update(schema="1"), "has no schema number"),
    ],
)
def test_a_hostile_manifest_is_refused(
    change: Callable[[dict[str, Any]], object], told: str, bundle: Path, reseal: Reseal
) -> None:
    """Paths that lead out, wrong types, numbers that are none: each is one line."""
    reseal(bundle, manifest=change)
    assert told in refusal(bundle)


def test_a_hostile_profile_is_refused(bundle: Path, reseal: Reseal) -> None:
    """One of the faults that tests/profile/test_read_profile.py tells apart."""
    reseal(bundle, profile=lambda p: p["numbers"][0].update(kind="guessed"))
    assert "kind" in refusal(bundle)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\udcff"])
def test_what_is_no_json_is_told(text: str, bundle: Path) -> None:
    """Cut off, nested too deep, not UTF-8."""
    (bundle / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert refusal(bundle).startswith("/manifest.json: is no")
