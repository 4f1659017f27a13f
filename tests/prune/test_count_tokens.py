"""How often each token occurs, in a corpus of any size."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgecompile.errors import ModelError
from edgecompile.prune import count_tokens as counting
from edgecompile.prune.count_tokens import BATCH, SLICE_CHARACTERS, count_tokens, encode
from edgecompile.prune.tokenizer_file import open_tokenizer

ROWS = 5000


def test_each_token_is_counted(tokenizer_json: Path) -> None:
    """As by hand, special tokens included; a row that no token has is 0."""
    file = open_tokenizer(tokenizer_json)
    texts = ["the value of the object", "is the name"] * 50
    wanted = Counter(i for text in texts for i in file.tokenizer.encode(text).ids)
    found = count_tokens(file, texts, ROWS)
    assert {int(i): int(found[i]) for i in np.flatnonzero(found)} == wanted


def test_texts_are_read_as_they_are_needed(tokenizer_json: Path) -> None:
    """No more than a batch is held: what was read when the first comes back is one."""
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for number in range(10 * BATCH):
            read += 1
            yield f"text {number}"

    next(encode(open_tokenizer(tokenizer_json).tokenizer, texts()))
    assert read == BATCH


def test_a_long_text_is_read_in_slices(
    tokenizer_json: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end at spaces, none is longer than the limit, and nothing is lost."""
    monkeypatch.setattr(counting, "SLICE_CHARACTERS", 100)
    assert SLICE_CHARACTERS > 100
    text = "some words " * 40 + "x" * 250 + " end"
    batches = list(encode(open_tokenizer(tokenizer_json).tokenizer, [text]))
    slices = [piece for batch, _ in batches for piece in batch]
    assert "".join(slices) == text
    assert max(map(len, slices)) == 100
    assert all(piece.startswith(" ") for piece in slices[1:4])


def test_an_id_beyond_the_table_is_named(tokenizer_json: Path) -> None:
    """The model has no row for it."""
    file = open_tokenizer(tokenizer_json)
    with pytest.raises(ModelError, match=r"the tokenizer gives token id \d+, the model's table"):
        count_tokens(file, ["the value of the object"], 20)
