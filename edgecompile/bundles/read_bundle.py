"""A finished bundle, read back: what it says is checked before anything believes it.

Whoever can write the folder can write its manifest too: hashes find damage and mixed-up files, not
an attacker. What an attacker could make of a reader is checked all the same: paths, sizes, types.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from edgecompile.errors import BundleError
from edgecompile.files import MANIFEST, sha256
from edgecompile.profile.read_profile import read_profile

PROFILE = "profile.json"
SCHEMA = 1
"""The newest schema of a manifest that this edgecompile reads."""
MOST_BYTES = 64 << 20
"""Of a JSON file; a manifest of BERT-large has half a megabyte."""
MOST_FILES = 1000
LARGEST = 1e300
TEXTS = ("edgecompile", "model", "target", "engine", "runtime", "built_with", "artifact")
TABLES = ("accuracy", "golden", "recipe", "inputs", "quantization", "files")
"""The keys of a manifest that are read without asking."""
BUILD_AGAIN = "build it again, or copy it again"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
"""A file of the bundle, or of a folder in it (a Core ML package); none begins with a dot."""
SHA256 = re.compile(r"[0-9a-f]{64}")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReadBundle:
    """A bundle whose files are those that were built, with its manifest and its profile."""

    folder: Path
    manifest: Json
    profile: Json

    @property
    def name(self) -> str:
        """Return the folder's name."""
        return self.folder.resolve().name

    @property
    def target(self) -> str:
        """Return the name of the target that it was built for."""
        return str(self.manifest["target"])

    @property
    def artifact(self) -> Path:
        """Return the file that the engine loads."""
        return self.folder / str(self.manifest["artifact"])


def artifact_hash(bundle: ReadBundle) -> str:
    """Return the SHA-256 of the file that the engine loads."""
    return str(bundle.manifest["files"][bundle.manifest["artifact"]])


def read_bundle(folder: Path) -> ReadBundle:
    """Read a bundle; raise BundleError, one line, where it is not what a build has written.

    >>> from edgecompile.bundles.read_bundle import read_bundle
    >>> read_bundle(Path("nowhere"))
    Traceback (most recent call last):
    edgecompile.errors.BundleError: nowhere: no bundle: there is no manifest.json; give the folder\
 that `edgecompile build` wrote
    """
    path = folder / MANIFEST
    if not path.is_file():
        msg = (
            f"{folder}: no bundle: there is no {MANIFEST}; give the folder that `edgecompile build`"
            " wrote"
        )
        raise BundleError(msg)
    manifest = read_manifest(path)
    for name, expected in manifest["files"].items():
        _check_file(folder, name, expected)
    return ReadBundle(folder, manifest, read_profile(folder / PROFILE))


def read_manifest(path: Path) -> Json:
    """Read a manifest alone, without the files that it names; BundleError where it is none."""
    manifest = _read_json(path)
    _check_manifest(path, manifest)
    return manifest


def _read_json(path: Path) -> dict[str, Any]:
    """Read an object of a schema that is known; NaN and Infinity are no JSON."""
    if path.is_symlink():
        _refuse(path, "is a link")
    if path.stat().st_size > MOST_BYTES:
        _refuse(path, f"has more than {MOST_BYTES >> 20} MB")
    try:
        value = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        _refuse(path, f"is not valid JSON ({error})")
    if not isinstance(value, dict):
        _refuse(path, "is no JSON object")
    schema = value.get("schema")
    if type(schema) is not int or schema < 1:
        _refuse(path, f"has no schema number from 1 to {SCHEMA}")
    if schema > SCHEMA:
        msg = (
            f"{path}: has schema {schema}, this edgecompile reads up to {SCHEMA}; upgrade"
            " edgecompile"
        )
        raise BundleError(msg)
    return value


def _no_number(constant: str) -> NoReturn:
    msg = f"{constant} is no number"
    raise ValueError(msg)


def _check_manifest(path: Path, manifest: Json) -> None:
    """Check the keys that are read without asking."""
    for keys, kind, called in ((TEXTS, str, "text"), (TABLES, dict, "table")):
        for key in keys:
            if not isinstance(manifest.get(key), kind):
                _refuse(path, f"'{key}' is no {called}")
    accuracy, files = manifest["accuracy"], manifest["files"]
    if not isinstance(accuracy.get("metric"), str):
        _refuse(path, "'accuracy' has no metric")
    if not all(_is_number(accuracy.get(key)) for key in ("mean", "min")):
        _refuse(path, "'accuracy' has no numbers 'mean' and 'min'")
    if len(files) > MOST_FILES:
        _refuse(path, f"'files' names more than {MOST_FILES}")
    for name in (manifest["artifact"], manifest["golden"].get("file"), PROFILE):
        if not isinstance(name, str) or name not in files:
            _refuse(path, f"'files' has no hash of {name}")


def _check_file(folder: Path, name: str, expected: object) -> None:
    """Check that a file lies in the folder and is the one that was built."""
    if not NAME.fullmatch(name):
        _refuse(folder / MANIFEST, f"'files' names {name!r}, which is no plain file name")
    if not isinstance(expected, str) or not SHA256.fullmatch(expected):
        _refuse(folder / MANIFEST, f"'files' has no SHA-256 of {name}")
    path = folder / name
    steps = (path, *path.parents[: name.count("/")])
    if any(step.is_symlink() for step in steps) or not path.is_file():
        _refuse(path, "is missing")
    if sha256(path) != expected:
        _refuse(path, "is not the file that was built: its hash differs from the manifest's")


def _is_number(value: object) -> bool:
    """Say whether a value is a finite number; whole numbers of JSON may have any size."""
    numeric = isinstance(value, int | float) and type(value) is not bool
    return numeric and -LARGEST < value < LARGEST  # type: ignore[operator]


def _refuse(path: Path, fault: str) -> NoReturn:
    msg = f"{path}: {fault}; {BUILD_AGAIN}"
    raise BundleError(msg)
