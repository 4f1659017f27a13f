"""Real English made on this machine: the docstrings of an environment's packages.

    python benchmarks/docstrings.py OUT_DIR [--environment .venv-export]

Writes texts.jsonl, {"text": ...}: sentences and short paragraphs, to distil with; and pairs.jsonl,
{"query": ..., "document": ...}: a docstring's summary line and the prose that follows it, for
retrieval. No sentence and no ten words in a row are in both, nor in calibration_data/.

Sources are Python's standard library and site-packages, parsed with ``ast``: nothing is imported or
run. The same packages give the same bytes, which are kept in .cache/ under the packages' versions.
The docstrings are under their packages' licences (BSD, MIT, Apache-2.0, PSF-2.0, ...): what is made
here stays on this machine and is never committed.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path

from running import ROOT

sys.path.insert(0, str(ROOT / "calibration_data"))

from make import SENTENCE_END, SKIPPED_FOLDERS, docstrings_of, is_flowing, texts_of

ENVIRONMENT = ROOT / ".venv-export"
CACHE = ROOT / ".cache"
COMMITTED = ROOT / "calibration_data"
TEXTS, PAIRS = "texts.jsonl", "pairs.jsonl"
TEXT_COUNT, PAIR_COUNT = 15_000, 4_096
TEXT_WORDS, QUERY_WORDS, DOCUMENT_WORDS = (12, 110), (4, 30), (15, 100)
PARAGRAPH_WORDS = 31  # texts from here on are rarer than sentences, and are all taken
SAME_START_WORDS = 8
RUN = 10  # words in a row that two texts must not share
MAX_PAIRS_PER_MODULE = 12
MIN_LETTERS = 0.7  # of a document's characters: less is code or a table
PLAIN = re.compile(r"[ -~]+")  # ASCII on one line
CODE = re.compile(r">>>|\.\. |::|^\w+\(|->")
"""Doctests and markup; signatures in the place of a summary."""
REPEATED = "transformers/models/"
"""Left out: a quarter of all sources, and mostly copies of the same docstrings."""

Doc = tuple[str, str]
"""(module, docstring)"""
Pair = tuple[str, str]
"""(query, document)"""


def main() -> None:
    """Write both files to a folder and count what they hold."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path, metavar="OUT_DIR")
    parser.add_argument("--environment", type=Path, default=ENVIRONMENT)
    arguments = parser.parse_args()
    folder = make_corpus(arguments.environment)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name in (TEXTS, PAIRS):
        shutil.copyfile(folder / name, arguments.output / name)
    print(f"{len(read_texts(folder)):,} texts, {len(read_pairs(folder)):,} pairs")


def read_texts(folder: Path) -> list[str]:
    """Return the texts of a corpus, mixed: any part of them is like the whole."""
    return [row["text"] for row in _rows(folder / TEXTS)]


def read_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a corpus, mixed."""
    return [(row["query"], row["document"]) for row in _rows(folder / PAIRS)]


def make_corpus(environment: Path = ENVIRONMENT) -> Path:
    """Return the folder that holds both files for an environment; make it once, in a minute."""
    site, stdlib = _sources(environment)
    key = hashlib.sha256(str(stdlib).encode())
    key.update("\n".join(sorted(entry.name for entry in site.glob("*.dist-info"))).encode())
    for rules in (Path(__file__), *sorted(COMMITTED.iterdir())):
        key.update(rules.read_bytes() if rules.is_file() else b"")
    folder = CACHE / f"docstrings-{key.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    docs = read_docs([stdlib, site])
    pairs, rest = choose_pairs(docs, _parts(_committed()))
    texts = choose_texts(rest, _parts(chain(_committed(), *pairs)))
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        ready = Path(scratch) / "ready"
        ready.mkdir()
        _write(ready / TEXTS, ({"text": text} for text in texts))
        _write(ready / PAIRS, ({"query": query, "document": body} for query, body in pairs))
        ready.replace(folder)  # whole or not at all
    return folder


def read_docs(roots: Iterable[Path]) -> list[Doc]:
    """Return each docstring below some folders once, in the order of their sha256."""
    files = [
        (root, name)
        for root in roots
        for path in sorted(root.rglob("*.py"))
        if SKIPPED_FOLDERS.isdisjoint((name := path.relative_to(root)).parts)
        and not name.as_posix().startswith(REPEATED)
    ]
    found: dict[str, str] = {}
    with ProcessPoolExecutor() as processes:
        for (_, name), docs in zip(files, processes.map(_read, files, chunksize=32), strict=True):
            for doc in docs:
                found.setdefault(doc, name.as_posix())
    return sorted(((module, doc) for doc, module in found.items()), key=_digest)


def choose_pairs(docs: Iterable[Doc], known: set[str]) -> tuple[list[Pair], list[Doc]]:
    """Take the first pairs without a known part, none like another; return the other docs."""
    pairs: list[Pair] = []
    rest: list[Doc] = []
    seen: set[str] = set()
    modules: Counter[str] = Counter()
    for module, doc in docs:
        pair = pair_of(doc) if len(pairs) < PAIR_COUNT else None
        # Overloads and subclasses repeat their docstrings: one question must have one answer.
        keys = {pair[0].lower(), _start(pair[1])} if pair else set()
        if pair is None or keys & seen or modules[module] == MAX_PAIRS_PER_MODULE:
            rest.append((module, doc))
        elif known.isdisjoint(_parts(pair)):
            seen |= keys
            modules[module] += 1
            pairs.append(pair)
    return pairs, rest


def pair_of(doc: str) -> Pair | None:
    """Split a docstring into its summary and the prose that follows, or None without both."""
    summary, *paragraphs = re.split(r"\n\s*\n", doc.strip())
    flowing = []
    for paragraph in paragraphs:
        if not is_flowing(paragraph):
            break  # parameters, examples, a table
        flowing.append(paragraph)
    query, document = " ".join(summary.split()), " ".join(" ".join(flowing).split())
    lengths = ((query, QUERY_WORDS), (document, DOCUMENT_WORDS))
    if not all(_has_words(text, limits) for text, limits in lengths):
        return None
    if not all(PLAIN.fullmatch(text) and not CODE.search(text) for text, _ in lengths):
        return None
    letters = sum(char.isalpha() or char == " " for char in document)
    if not query.endswith(".") or letters < MIN_LETTERS * len(document) or query in document:
        return None
    return query, document


def choose_texts(docs: Iterable[Doc], known: set[str]) -> list[str]:
    """Take all paragraphs and the first sentences, none with a known part, none like another."""
    kept: dict[bool, list[str]] = {True: [], False: []}
    starts: set[str] = set()
    for _, doc in docs:
        fitting = (text for text in texts_of(doc) if _has_words(text, TEXT_WORDS))
        text = max(fitting, key=len, default="")
        start = _start(text)
        if text and start not in starts and known.isdisjoint(_parts([text])):
            starts.add(start)
            kept[len(text.split(" ")) >= PARAGRAPH_WORDS].append(text)
    chosen = {*[*kept[True], *kept[False]][:TEXT_COUNT]}
    return sorted(chosen, key=lambda text: hashlib.sha256(text.encode()).digest())


def _sources(environment: Path) -> tuple[Path, Path]:
    """Return a virtual environment's site-packages and the standard library of its Python."""
    (site, *_) = [*environment.glob("lib/python3.*/site-packages"), None]
    if site is None:
        sys.exit(f"{environment}: not a virtual environment; `make {environment.name}/.ready`")
    lines = (environment / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    home = next(line.partition("=")[2].strip() for line in lines if line.startswith("home"))
    return site, Path(home).parent / "lib" / site.parent.name


def _read(file: tuple[Path, Path]) -> list[str]:
    """Return the docstrings of a source file, none of one that this Python cannot parse."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        try:
            return [doc for _, doc in docstrings_of(Path(*file).read_bytes())]
        except (SyntaxError, ValueError):
            return []


def _committed() -> list[str]:
    rows = (row for file in sorted(COMMITTED.glob("*.jsonl")) for row in _rows(file))
    return [text for row in rows for text in row.values()]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    return map(json.loads, file.read_text(encoding="ascii").splitlines())


def _write(file: Path, rows: Iterable[dict[str, str]]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="ascii")


def _parts(texts: Iterable[str]) -> set[str]:
    """Return all sentences and all runs of a few words: what two texts must not share."""
    found: set[str] = set()
    for text in texts:
        words = text.lower().split(" ")
        found.update(SENTENCE_END.split(text))
        found.update(" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1))
    return found


def _has_words(text: str, limits: tuple[int, int]) -> bool:
    return limits[0] <= len(text.split(" ")) <= limits[1]


def _start(text: str) -> str:
    return " ".join(text.lower().split(" ")[:SAME_START_WORDS])


def _digest(doc: Doc) -> str:
    return hashlib.sha256(doc[1].encode(errors="surrogatepass")).hexdigest()


if __name__ == "__main__":
    main()
