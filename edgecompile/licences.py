"""What licence a package states in its metadata, and a model in its card."""

import re
from importlib.metadata import Distribution
from pathlib import Path

FIELDS = ("License-Expression", "Classifier", "License")
NOT_STATED = "none stated"
CARD = "README.md"
"""A Hugging Face model card: YAML between two lines of dashes comes first."""
HEAD_BYTES = 1 << 16


def licence_of(found: Distribution) -> str:
    """Return what a package's metadata says: an SPDX expression, a classifier, a line."""
    stated = {key: found.metadata.get_all(key) or [] for key in FIELDS}
    classified = [
        line.rpartition("::")[2].strip()
        for line in stated["Classifier"]
        if line.startswith("License ::")
    ]
    texts = [*stated["License-Expression"], ", ".join(classified), *stated["License"]]
    text = next(filter(None, map(str.strip, texts)), NOT_STATED)
    return text.splitlines()[0][:80]


def licence_in_card(folder: Path) -> str:
    """Return the licence that a model's card names, such as "apache-2.0"."""
    path = folder / CARD
    if not path.is_file():
        return NOT_STATED
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES).decode("utf-8", "replace")
    if not head.startswith("---"):
        return NOT_STATED
    found = re.search(
        r"^license:[ \t]*['\"]?([\w.+-]+)", head[3:].partition("\n---")[0], re.MULTILINE
    )
    return found[1] if found else NOT_STATED
