"""A finished bundle, on disk and back: all but its report, which another budget changes."""

import json
import shutil
from pathlib import Path

from edgecompile.emit.bundle import PROFILE
from edgecompile.files import MANIFEST, write_json
from edgecompile.fill_bundle import Bundle, recipe_table
from edgecompile.profile.read_profile import read_profile
from edgecompile.recipe import Recipe


def write_bundle(bundle: Bundle, kept: Path) -> None:
    """Write it to `kept`."""
    for name in (*bundle.manifest["files"], MANIFEST):
        shutil.copy(bundle.folder / name, kept / name)


def read_bundle(kept: Path, folder: Path, recipe: Recipe) -> Bundle:
    """Read it; its files are copied into `folder`, and the manifest has this build's recipe."""
    manifest = json.loads((kept / MANIFEST).read_bytes())
    for name in manifest["files"]:
        shutil.copy(kept / name, folder / name)
    manifest["recipe"] = json.loads(json.dumps(recipe_table(recipe)))
    write_json(folder / MANIFEST, manifest)
    return Bundle(folder, manifest, read_profile(folder / PROFILE))
