"""Write another manifest or profile into a bundle, whole or not at all."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompile.bundles.read_bundle import PROFILE, ReadBundle
from edgecompile.errors import OutputError
from edgecompile.files import MANIFEST, sha256, write_json


def rewrite_bundle(
    bundle: ReadBundle,
    manifest: Mapping[str, Any] | None = None,
    profile: Mapping[str, Any] | None = None,
) -> ReadBundle:
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
    return ReadBundle(folder, given, bundle.profile if profile is None else profile)


def add_file(folder: Path, manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Write the hash of a file that lies in the folder into the manifest, and return that."""
    hashes = {**manifest["files"], name: sha256(folder / name)}
    given = {**manifest, "files": dict(sorted(hashes.items()))}
    return dict(rewrite_bundle(ReadBundle(folder, manifest, {}), given).manifest)
