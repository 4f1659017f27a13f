"""The committed text sets: what README.md says of them is true."""

import json
import re
from itertools import combinations

import pytest

from edgecompile.data.dataset import data_dir
from edgecompile.data.kinds.texts import read_texts
from edgecompile.files import sha256

README = (data_dir() / "README.md").read_text(encoding="utf-8")
HASHES = dict(re.findall(r"^ {4}([0-9a-f]{64})  (\S+)$", README, flags=re.MULTILINE))
COUNTS = {name: int(n) for name, n in re.findall(r"^\| `(\S+)` \| (\d+) \|", README, re.MULTILINE)}
SETS = sorted(path.name for path in data_dir().glob("*.jsonl"))


def test_every_set_is_in_the_readme() -> None:
    """Each file is listed with its number of texts and its hash, and nothing else is."""
    assert SETS == sorted(COUNTS) == sorted(HASHES.values())
    assert COUNTS == {
        "docs.jsonl": 256,
        "golden.jsonl": 64,
        "heldout.jsonl": 256,
        "repair.jsonl": 1024,
    }


@pytest.mark.parametrize(("digest", "name"), HASHES.items(), ids=HASHES.values())
def test_hash_is_that_of_the_file(digest: str, name: str) -> None:
    """The committed file is the one that README.md describes."""
    assert sha256(data_dir() / name) == digest


@pytest.mark.parametrize("name", SETS)
def test_set_holds_as_many_texts_as_stated(name: str) -> None:
    """Each line is one object with one text, in ASCII, and none is twice in a file."""
    lines = (data_dir() / name).read_text(encoding="ascii").splitlines()
    assert len(lines) == COUNTS[name]
    assert all(list(json.loads(line)) == ["text"] for line in lines)
    texts = list(read_texts(data_dir() / name))
    assert len(set(texts)) == len(texts) == COUNTS[name]
    assert all(5 <= len(text.split()) <= 110 for text in texts)


@pytest.mark.parametrize(("one", "other"), list(combinations(SETS, 2)))
def test_sets_share_no_text(one: str, other: str) -> None:
    """What calibrates never judges: no text is in two sets, nor inside a text of another."""
    texts, others = (list(read_texts(data_dir() / name)) for name in (one, other))
    assert not set(texts) & set(others)
    assert not [a for a in texts if any(a in b or b in a for b in others)]
