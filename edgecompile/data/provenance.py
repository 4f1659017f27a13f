"""By which hash the manifest knows the data of a build."""

import hashlib
from pathlib import Path

from edgecompile.data.source import Source

HEAD_BYTES = 1 << 26
"""Of larger files the head is hashed: a build must not read what it does not use."""


def digest(source: Source, stop: int) -> dict[str, str]:
    """Return {"sha256": ...} of a source's file, or of the files that its first samples are.

    Several files are hashed as `sha256sum` lists them, names relative to the folder. What does not
    cover a whole file says so as "sha256_of". Data that is no file has no hash.
    """
    if not source.files:
        return {}
    if source.path.is_file():
        return hash_data(source.path)
    lines = [
        f"{hash_data(p)['sha256']}  {p.relative_to(source.path)}\n" for p in source.files[:stop]
    ]
    listed = hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return {"sha256": listed, "sha256_of": f"sha256sum's lines of {len(lines)} files"}


def hash_data(path: Path) -> dict[str, str]:
    """Return {"sha256": ...} of a file, or of its head, which "sha256_of" then says."""
    found, left = hashlib.sha256(), HEAD_BYTES
    with path.open("rb") as file:
        while left and (block := file.read(min(left, 1 << 20))):
            found.update(block)
            left -= len(block)
        cut = not left and bool(file.read(1))
    return {"sha256": found.hexdigest()} | (
        {"sha256_of": f"the first {HEAD_BYTES} bytes"} if cut else {}
    )
