"""Make the text sets of this folder from the docstrings of the CPython standard library.

The sources are parsed with ``ast``; no module is imported or run. Texts are kept by fixed
quality rules and taken in the order of their sha256, so the same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import re
import sys
import textwrap
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SKIPPED_FOLDERS = {
    "__pycache__",
    "idlelib",
    "pydoc_data",
    "site-packages",
    "test",
    "tests",
    "turtledemo",
}
# Modules and packages whose sources carry a licence or copyright notice of their own that is not
# a grant to the PSF; without them, all that is read is under the PSF licence alone.
OTHER_NOTICE = {
    "asynchat.py",
    "asyncore.py",
    "codecs.py",
    "doctest.py",
    "encodings",
    "http/cookies.py",
    "logging",
    "optparse.py",
    "platform.py",
    "profile.py",
    "pstats.py",
    "re",
    "socketserver.py",
    "sqlite3",
    "tarfile.py",
    "tkinter/simpledialog.py",
    "tomllib",
    "trace.py",
    "turtle.py",
    "unittest",
    "urllib/robotparser.py",
    "uu.py",
    "wsgiref/validate.py",
    "xml/etree",
    "xmlrpc",
}

# One unit of each length; a file holds a whole number of units, so all have the same mix.
UNIT = {"long": 11, "short": 21, "single": 32}
WORDS = {"long": (71, 110), "short": (31, 70), "single": (5, 30)}
REPAIR = 1024
"""Texts of repair.jsonl, which takes what the other files leave, several from a docstring."""
MAX_REPAIR_PER_MODULE = 24
# The texts of each kind are dealt to the files in this order, over and over.
DEAL = ("docs", "heldout", "docs", "heldout", "golden", "docs", "heldout", "docs", "heldout")

MAX_PER_MODULE = 6
MAX_SAME_FIRST_WORD = 40
SAME_START_WORDS = 6
SHINGLE_WORDS = 3
MAX_SHARED_SHINGLES = 0.12  # of the text with fewer
MAX_SHARED_WORDS = 0.4  # of the words of both texts
MIN_LETTERS = 0.78
MIN_PLAIN_WORDS = 0.85
MIN_COMMON_WORDS = 0.2

PLAIN_CHARS = re.compile(r"""[A-Za-z0-9 ,.;:'"()/?!_-]+""")
NOT_PROSE = re.compile(
    r"""\.\.|::|\(\)|\w\(|\ [,.;:)]|\(\ |,\w  # code and stray punctuation
    |---|-{2,}\w|\ -\ |__|\b_|_\W|\b[bru]['"]|'\ '|\b[a-z]+[A-Z]|://  # options, markup, identifiers
    |[a-z]{2}[.?!]\ [a-z]  # a sentence end that SENTENCE_END does not see
    |\b(XXX|TODO|[Aa]bove|[Bb]elow|[Aa]nal)\b  # notes, references to elsewhere, crude words""",
    re.VERBOSE,
)
PLAIN_WORD = re.compile(r"""["'(]*([A-Z]?[a-z]+|[A-Z]{1,5})(['/-][A-Za-z]+)*["'),.;:?!]*""")
LIST_ITEM = re.compile(r"[-*+o] |\(?[0-9a-z][.)] ")
SENTENCE_END = re.compile(r"""(?<=[.?!])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.) (?=["'(]*[A-Z])""")
COMMON_WORD = re.compile(
    r"""["'(]*(a|an|and|are|as|at|be|been|but|by|can|do|does|for|from|has|have|if|in|into|is|it|its
    |may|must|no|not|of|on|only|or|should|so|than|that|the|their|them|then|there|these|they|this
    |to|was|when|where|which|will|with|you|your)["'),.;:]*""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True)
class Candidate:
    """A text that passed the quality rules, and where it came from."""

    text: str
    kind: str
    module: str
    owner: str

    @cached_property
    def words(self) -> list[str]:
        """The words of the text, lower case, without punctuation."""
        return re.findall(r"[a-z0-9]+", self.text.lower())

    @cached_property
    def shingles(self) -> set[tuple[str, ...]]:
        """All runs of a few words of the text."""
        return set(zip(*(self.words[i:] for i in range(SHINGLE_WORDS)), strict=False))

    @cached_property
    def digest(self) -> str:
        """The sha256 of the text, which orders the candidates."""
        return hashlib.sha256(self.text.encode("ascii")).hexdigest()


def docstrings(stdlib: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (module path, owner, docstring) for each documented object of the library."""
    for path in sorted(stdlib.rglob("*.py")):
        relative = path.relative_to(stdlib)
        if SKIPPED_FOLDERS.intersection(relative.parts):
            continue
        if any(part.as_posix() in OTHER_NOTICE for part in (relative, *relative.parents)):
            continue
        for line, doc in docstrings_of(path.read_bytes()):
            yield relative.as_posix(), f"{relative.as_posix()}:{line}", doc


def docstrings_of(source: bytes) -> Iterator[tuple[int, str]]:
    """Yield (line, docstring) for each documented object of a source file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(
            node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        ) and (doc := ast.get_docstring(node)):
            yield getattr(node, "lineno", 0), doc


def is_flowing(paragraph: str) -> bool:
    """Tell whether a paragraph is flowing text: not code, a list, a table or a signature."""
    lines = textwrap.dedent(paragraph).split("\n")
    if any(line[:1].isspace() or LIST_ITEM.match(line) for line in lines):
        return False
    # Two spaces may follow a sentence; anywhere else they line up columns.
    return not any(re.search(r"[^.?!:)\"'] {2,}|\s{3,}", line.rstrip()) for line in lines)


def is_sentence(text: str) -> bool:
    """Tell whether a text looks like one sentence of prose, without code in it."""
    return (
        text[:1].isupper()
        and text.endswith(".")
        and PLAIN_CHARS.fullmatch(text) is not None
        and NOT_PROSE.search(text) is None
        and text.count("(") == text.count(")")
        and text.count('"') % 2 == 0
    )


def is_plain(text: str) -> bool:
    """Tell whether a text is made of everyday words rather than of identifiers."""
    words = text.split(" ")
    plain = sum(PLAIN_WORD.fullmatch(word) is not None for word in words)
    common = sum(COMMON_WORD.fullmatch(word) is not None for word in words)
    letters = sum(char.isalpha() for char in text)
    return (
        letters >= MIN_LETTERS * len(text)
        and plain >= MIN_PLAIN_WORDS * len(words)
        and common >= MIN_COMMON_WORDS * len(words)
    )


def kind_of(text: str) -> str | None:
    """Name the length class of a text, or None where it has none."""
    count = len(text.split(" "))
    is_single = SENTENCE_END.search(text) is None
    for kind, (least, most) in WORDS.items():
        if least <= count <= most and (kind == "single") == is_single:
            return kind
    return None


def texts_of(doc: str) -> Iterator[str]:
    """Yield the runs of clean sentences of a docstring that begin where a paragraph begins."""
    runs: list[str] = []
    for paragraph in re.split(r"\n\s*\n", doc.strip()):
        if not is_flowing(paragraph):
            runs = []
            continue
        runs.append("")
        for sentence in SENTENCE_END.split(" ".join(paragraph.split())):
            if not is_sentence(sentence):
                runs = []
                break
            runs = [f"{run} {sentence}".strip() for run in runs]
            yield from filter(is_plain, runs)


def candidates(stdlib: Path) -> list[Candidate]:
    """Return all usable texts of the library in the order of their sha256."""
    found: dict[str, Candidate] = {}
    for module, owner, doc in docstrings(stdlib):
        for text in texts_of(doc):
            kind = kind_of(text)
            if kind is not None:
                found.setdefault(text, Candidate(text, kind, module, owner))
    return sorted(found.values(), key=lambda candidate: candidate.digest)


def is_alike(one: Candidate, other: Candidate) -> bool:
    """Tell whether two texts are near duplicates."""
    words, other_words = set(one.words), set(other.words)
    shingles, other_shingles = one.shingles, other.shingles
    fewer = min(len(shingles), len(other_shingles))
    return (
        one.words[:SAME_START_WORDS] == other.words[:SAME_START_WORDS]
        or len(words & other_words) > MAX_SHARED_WORDS * len(words | other_words)
        or len(shingles & other_shingles) > MAX_SHARED_SHINGLES * fewer
    )


def select(pool: list[Candidate]) -> dict[str, list[Candidate]]:
    """Take the wanted number of texts of each kind, no two alike or from one docstring."""
    chosen: dict[str, list[Candidate]] = {kind: [] for kind in UNIT}
    taken: list[Candidate] = []
    first_words: Counter[str] = Counter()
    modules: Counter[str] = Counter()
    for kind, per_unit in UNIT.items():
        for candidate in pool:
            if len(chosen[kind]) == per_unit * len(DEAL):
                break
            if (
                candidate.kind != kind
                or modules[candidate.module] == MAX_PER_MODULE
                or first_words[candidate.words[0]] == MAX_SAME_FIRST_WORD
                or any(candidate.owner == other.owner for other in taken)
                or any(is_alike(candidate, other) for other in taken)
            ):
                continue
            chosen[kind].append(candidate)
            taken.append(candidate)
            modules[candidate.module] += 1
            first_words[candidate.words[0]] += 1
    return chosen


def more(pool: list[Candidate], chosen: dict[str, list[Candidate]]) -> list[str]:
    """Return further texts, from docstrings of which no other file has any, none inside another."""
    taken = [item for found in chosen.values() for item in found]
    owners = {item.owner for item in taken}
    kept: list[Candidate] = []
    modules: Counter[str] = Counter()
    for candidate in sorted(pool, key=lambda item: (-len(item.words), item.digest)):
        if candidate.owner in owners or modules[candidate.module] == MAX_REPAIR_PER_MODULE:
            continue
        if any(candidate.text in item.text or item.text in candidate.text for item in taken):
            continue
        if any(candidate.text in item.text for item in kept if item.owner == candidate.owner):
            continue
        if any(is_alike(candidate, item) for item in taken):
            continue
        kept.append(candidate)
        modules[candidate.module] += 1
    texts = list(dict.fromkeys(item.text for item in sorted(kept, key=lambda item: item.digest)))
    return texts[:REPAIR]


def deal(chosen: dict[str, list[Candidate]], name: str) -> list[str]:
    """Return the texts of one file, the kinds mixed so that any part of it has about the mix."""
    placed: list[tuple[float, str]] = []
    for found in chosen.values():
        hand = [item.text for i, item in enumerate(found) if DEAL[i % len(DEAL)] == name]
        placed += [((i + 0.5) / len(hand), text) for i, text in enumerate(hand)]
    return [text for _, text in sorted(placed)]


def main() -> int:
    """Write the files; return 1 where the library holds too few usable texts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stdlib", type=Path, help="folder of the standard library's sources")
    parser.add_argument("output", type=Path, help="folder to write the jsonl files to")
    arguments = parser.parse_args()

    pool = candidates(arguments.stdlib)
    chosen = select(pool)
    short_of = {
        kind: missing
        for kind, per_unit in UNIT.items()
        if (missing := per_unit * len(DEAL) - len(chosen[kind]))
    }
    if short_of:
        sys.stderr.write(f"too few texts, missing: {short_of}\n")
        return 1
    sets = {name: deal(chosen, name) for name in dict.fromkeys(DEAL)}
    for name, texts in (*sets.items(), ("repair", more(pool, chosen))):
        lines = [json.dumps({"text": text}) + "\n" for text in texts]
        (arguments.output / f"{name}.jsonl").write_bytes("".join(lines).encode("ascii"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
