"""The importance "frequency" of tokens: how often a corpus uses each.

A word that WordPiece gives up on becomes one unknown token. The pieces that it had found before it
gave up count too: without them it would try others, and might not give up.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgecompile.errors import ModelError
from edgecompile.prune.tokenizer_file import TokenizerFile

if TYPE_CHECKING:
    import tokenizers

BATCH = 64
"""Texts that are tokenized at once, on all CPUs."""
SLICE_CHARACTERS = 1 << 16
"""A longer text is read in slices, which end at spaces: so memory does not depend on it."""


def count_tokens(file: TokenizerFile, texts: Iterable[str], rows: int) -> npt.NDArray[np.int64]:
    """Return how often each id occurs, [rows]; special tokens of the template count too."""
    counts = np.zeros(rows, np.int64)
    unknown = file.tokenizer.token_to_id(file.model.get("unk_token") or "")
    for batch, encodings in encode(file.tokenizer, texts):
        for text, encoding in zip(batch, encodings, strict=True):
            ids = np.array(encoding.ids, np.int64)
            if ids.size and ids.max() >= rows:
                msg = f"the tokenizer gives token id {ids.max()}, the model's table has {rows} rows"
                raise ModelError(msg)
            np.add.at(counts, ids, 1)
            if file.kind == "WordPiece" and unknown in encoding.ids:
                np.add.at(counts, list(_given_up(file, text)), 1)
    return counts


def encode(
    tokenizer: "tokenizers.Tokenizer", texts: Iterable[str]
) -> Iterator[tuple[list[str], "list[tokenizers.Encoding]"]]:
    """Yield batches of texts (slices of long ones), and their tokens."""
    slices = (piece for text in texts for piece in _slices(text))
    while batch := list(islice(slices, BATCH)):
        yield batch, tokenizer.encode_batch(batch)


def _slices(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > SLICE_CHARACTERS:
        end = start + SLICE_CHARACTERS
        space = text.rfind(" ", start + 1, end)
        stop = end if space < 0 else space
        yield text[start:stop]
        start = stop
    yield text[start:]


def _given_up(file: TokenizerFile, text: str) -> Iterator[int]:
    """Yield the ids of the pieces with which unknown words begin."""
    normalizer, splitter = file.tokenizer.normalizer, file.tokenizer.pre_tokenizer
    text = normalizer.normalize_str(text) if normalizer is not None else text
    words = splitter.pre_tokenize_str(text) if splitter is not None else [(text, (0, 0))]
    for word, _ in words:
        if len(word) <= file.model["max_input_chars_per_word"]:
            found, whole = _begin(file, word)
            yield from () if whole else found


def _begin(file: TokenizerFile, word: str) -> tuple[list[int], bool]:
    """Return the longest pieces one after the other, and whether they are the whole word."""
    vocabulary, prefix = file.model["vocab"], file.model["continuing_subword_prefix"]
    found: list[int] = []
    start = 0
    while start < len(word):
        lead = prefix if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if lead + word[start:e] in vocabulary), None)
        if end is None:
            return found, False
        found.append(vocabulary[lead + word[start:end]])
        start = end
    return found, True
