"""The text that benchmarks make on the machine: nothing trains and judges, or is asked twice."""

import asyncio
import email
import sys
from pathlib import Path
from types import ModuleType

import pytest

from edgecompile.data.dataset import data_dir
from edgecompile.data.kinds.texts import read_texts

ROOT = Path(__file__).parents[2]
FOLDERS = [Path(str(module.__file__)).parent for module in (asyncio, email)]
SUMMARY = "Return the sum of two numbers."
BODY = "Each must know how to add itself to the other, and neither is changed by that."
PROSE = f"Both may be of any kind. {BODY}"


@pytest.fixture(scope="module")
def docstrings() -> ModuleType:
    """Return the benchmark's module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
        import docstrings

        return docstrings


def test_no_text_is_in_two_sets(docstrings: ModuleType) -> None:
    """Not of the pairs in the texts, not of the committed sets in either, none twice."""
    docs = docstrings.read_docs(FOLDERS)
    committed = [text for file in data_dir().glob("*.jsonl") for text in read_texts(file)]
    pairs, rest = docstrings.choose_pairs(docs, docstrings._parts(committed))  # noqa: SLF001
    sides = [side for pair in pairs for side in pair]
    texts = docstrings.choose_texts(rest, docstrings._parts([*committed, *sides]))  # noqa: SLF001
    assert len(pairs) > 20
    assert len(texts) > 50
    assert len(set(texts)) == len(texts)
    assert len(set(sides)) == len(sides)
    assert not [text for text in texts if any(text in side for side in sides)]
    assert not [text for text in committed if any(text in other for other in [*texts, *sides])]


def test_the_same_sources_give_the_same_corpus(docstrings: ModuleType) -> None:
    """Whatever the order in which processes read them."""
    assert docstrings.read_docs(FOLDERS) == docstrings.read_docs(FOLDERS)


@pytest.mark.parametrize(
    ("doc", "pair"),
    [
        (f"{SUMMARY}\n\nBoth may be of\nany kind. {BODY}\n\nArgs:\n    a: one.", (SUMMARY, PROSE)),
        (SUMMARY, None),
        (f"{SUMMARY}\n\nArgs:\n    a: {BODY}", None),
        (f"add(a, b) -> the sum of two numbers.\n\n{BODY}", None),
    ],
    ids=["prose", "no body", "parameters", "a signature"],
)
def test_a_pair_is_a_summary_and_prose(
    docstrings: ModuleType, doc: str, pair: tuple[str, str] | None
) -> None:
    """Parameters, examples and tables are no prose; a signature is no summary."""
    assert docstrings.pair_of(doc) == pair
