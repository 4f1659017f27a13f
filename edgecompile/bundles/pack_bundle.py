"""A bundle as one .zip: the same bytes on any day, in any folder, by any user.

Files are stored, not compressed: int8 weights hardly shrink, and what deflate makes of them depends
on the zlib that Python was built with.
"""

import re
import shutil
import zipfile
from pathlib import Path

from edgecompile.bundles.read_bundle import ReadBundle, read_bundle
from edgecompile.bundles.signature import SIGNATURE
from edgecompile.emit.bundle import SMOKE
from edgecompile.files import MANIFEST, whole_file

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first moment that a .zip can tell."""
UNIX = 3
"""The system whose file modes the archive holds."""
PLAIN, EXECUTABLE = 0o100644, 0o100755


def pack_bundle(folder: Path, output: Path | None = None) -> Path:
    """Write a bundle, verified, and its signature into one file; return its path.

    By default beside the folder, named after model and target, as the folder inside is.
    """
    bundle = read_bundle(folder)
    name = plain_name(bundle)
    path = output or folder.resolve().with_name(f"{name}.zip")
    names = sorted([MANIFEST, *bundle.manifest["files"]])
    if (folder / SIGNATURE).is_file():
        names.append(SIGNATURE)
    with whole_file(path) as scratch, zipfile.ZipFile(scratch, "w") as archive:
        for file in names:
            info = zipfile.ZipInfo(f"{name}/{file}", EPOCH)
            info.create_system = UNIX
            info.external_attr = (EXECUTABLE if file == SMOKE else PLAIN) << 16
            info.file_size = (folder / file).stat().st_size
            with (folder / file).open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    return path


def plain_name(bundle: ReadBundle) -> str:
    """Return model, part and target as a file name, wherever the folder lies and is called."""
    manifest = bundle.manifest
    parts = (manifest["model"], manifest["target"])
    return re.sub(r"[^A-Za-z0-9_.+-]", "-", "-".join(map(str, parts))).lstrip(".-+") or "bundle"
