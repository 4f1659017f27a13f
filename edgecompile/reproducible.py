"""What of a bundle is the same bytes whenever the same inputs are built, and what cannot be.

Times that were measured are not, nor is what quotes them. All else is: two builds of one model with
one recipe, one target and the same versions of tools give the same files, and manifests that say
the same.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

MEASURED = ("profile.json", "report.html")
"""The files that hold measured times; manifest.json does too, beside what is reproducible."""
NOT_HASHED = ("files", "tools", "toolchain", "edgecompile", "built_with", "engines")
"""Of a manifest: files have their own hashes, other tools may give the same bytes, and engines were
chosen by their times."""
TIMES = ("seconds", "ms", "ratio", "p50_ms", "when")
"""Keys of measured times, wherever they stand."""


def reproducible_hash(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a manifest says, files and measured times left out."""
    table = {key: _timeless(value) for key, value in manifest.items() if key not in NOT_HASHED}
    text = json.dumps(table, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def reproducible_files(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return name and hash of each file that another build of the same must give."""
    return {n: str(h) for n, h in sorted(manifest["files"].items()) if n not in MEASURED}


def _timeless(value: Any) -> Any:
    """Return a value without the times in it."""
    if isinstance(value, Mapping):
        return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
    return [_timeless(item) for item in value] if isinstance(value, list) else value
