"""Read a bundle's manifest and profile, and write them anew."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.errors import ModelError, OutputError
from edgecompile.files import sha256, write_json

MANIFEST, PROFILE = "manifest.json", "profile.json"
KEYS = ("target", "engine", "artifact", "files", "golden", "accuracy")
"""What every manifest has."""


@dataclass(frozen=True, slots=True)
class OpenBundle:
    """A bundle that stands in a folder."""

    folder: Path
    manifest: Mapping[str, Any]
    profile: Mapping[str, Any]

    @property
    def target(self) -> str:
        """Return the name of the target that it was built for."""
        return str(self.manifest["target"])


def open_bundle(folder: Path) -> OpenBundle:
    """Read a bundle; every file must be the one whose hash its manifest holds.

    Raises ModelError: no bundle, or not as it was built.
    """
    folder = folder.resolve()
    manifest = _read(folder / MANIFEST, "is no bundle")
    missing = [key for key in KEYS if key not in manifest]
    if missing or not isinstance(manifest["files"], dict):
        msg = f"{folder / MANIFEST}: is no bundle's: it lacks {', '.join(missing) or 'files'}"
        raise ModelError(msg)
    for name, expected in manifest["files"].items():
        path = folder / name
        if path.parent != folder or not path.is_file() or sha256(path) != expected:
            msg = f"{path}: is not the file that was built; build or copy the bundle again"
            raise ModelError(msg)
    return OpenBundle(folder, manifest, _read(folder / PROFILE, "has no profile"))


def _read(path: Path, fault: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path.parent}: {fault}: {path.name} cannot be read ({error})"
        raise ModelError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path}: is not a JSON object"
        raise ModelError(msg)
    return found


def rewrite_bundle(
    bundle: OpenBundle,
    manifest: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
) -> OpenBundle:
    """Write another manifest, or another profile and its hash; return the bundle as it is then.

    Both are written whole beside the old ones before the first takes its place, so that a full disk
    changes nothing.
    """
    folder = bundle.folder
    given = dict(bundle.manifest if manifest is None else manifest)
    try:
        with tempfile.TemporaryDirectory(prefix=".profile-", dir=folder) as name:
            scratch = Path(name)
            if profile is not None:
                write_json(scratch / PROFILE, profile)
                given["files"] = {**given["files"], PROFILE: sha256(scratch / PROFILE)}
            write_json(scratch / MANIFEST, given)
            for file in (PROFILE, MANIFEST) if profile is not None else (MANIFEST,):
                os.replace(scratch / file, folder / file)  # noqa: PTH105 - atomic on POSIX
    except OSError as error:
        msg = f"{folder}: cannot write there: {error.strerror}"
        raise OutputError(msg) from error
    return OpenBundle(folder, given, bundle.profile if profile is None else profile)
