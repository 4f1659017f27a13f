"""Make retrieval.jsonl: summary lines of docstrings, each with the rest of its docstring.

The task that it poses: find the text by its summary. Same sources as ``make.py``; what holds a text
of the other sets is left out, so nothing here has calibrated a model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

from make import docstrings

OTHER_SETS = ("docs.jsonl", "golden.jsonl", "heldout.jsonl")
PAIRS = 700
QUERY_WORDS = (4, 30)
DOCUMENT_WORDS = (15, 150)
MAX_PER_MODULE = 12
MIN_LETTERS = 0.7  # of a document's characters: less is code or a table
PLAIN = re.compile(r"[ -~]+")  # ASCII on one line
CODE = re.compile(r">>>|\.\. |::|^\w+\(|->")
"""Doctests and markup; signatures in the place of a summary."""


def pair_of(doc: str) -> tuple[str, str] | None:
    """Split a docstring into its summary line and its body, or None where one is missing."""
    summary, _, body = doc.strip().partition("\n\n")
    query, document = " ".join(summary.split()), " ".join(body.split())
    lengths = ((query, QUERY_WORDS), (document, DOCUMENT_WORDS))
    if not all(least <= len(text.split(" ")) <= most for text, (least, most) in lengths):
        return None
    if not all(PLAIN.fullmatch(text) and not CODE.search(text) for text, _ in lengths):
        return None
    letters = sum(char.isalpha() or char == " " for char in document)
    if not query.endswith(".") or letters < MIN_LETTERS * len(document) or query in document:
        return None
    return query, document


def pairs(stdlib: Path, taken: list[str]) -> list[tuple[str, str]]:
    """Return all pairs in the order of the sha256 of their documents, none like another."""
    found = []
    for module, _owner, doc in docstrings(stdlib):
        flat = " ".join(doc.split())
        if (pair := pair_of(doc)) is not None and not any(text in flat for text in taken):
            found.append((hashlib.sha256(pair[1].encode("ascii")).hexdigest(), module, *pair))
    chosen: list[tuple[str, str]] = []
    seen: set[str] = set()
    modules: dict[str, int] = {}
    for _digest, module, query, document in sorted(found):
        # Overloads and subclasses repeat their docstrings: one question must have one answer.
        keys = {query.lower(), " ".join(document.lower().split(" ")[:8])}
        if seen & keys or modules.get(module, 0) == MAX_PER_MODULE:
            continue
        seen |= keys
        modules[module] = modules.get(module, 0) + 1
        chosen.append((query, document))
    return chosen


def main() -> int:
    """Write the file; return 1 where the library holds too few pairs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stdlib", type=Path, help="folder of the standard library's sources")
    parser.add_argument("output", type=Path, help="folder with the other sets, written to")
    arguments = parser.parse_args()
    lines = [
        line
        for name in OTHER_SETS
        for line in (arguments.output / name).read_text(encoding="ascii").splitlines()
    ]
    chosen = pairs(arguments.stdlib, [json.loads(line)["text"] for line in lines])
    if len(chosen) < PAIRS:
        sys.stderr.write(f"too few pairs: {len(chosen)}\n")
        return 1
    rows = [json.dumps({"query": q, "document": d}) + "\n" for q, d in chosen[:PAIRS]]
    (arguments.output / "retrieval.jsonl").write_bytes("".join(rows).encode("ascii"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
