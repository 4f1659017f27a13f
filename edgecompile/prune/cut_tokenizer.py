"""A tokenizer without the tokens that are not needed; ids are counted anew, in the old order.

Texts whose tokens are all kept give the same tokens as before. The reasons, by kind:

- WordPiece takes the longest piece that fits: what was the longest still is. Words that it gives
  up on: see count_tokens.py.
- BPE merges the pair of the lowest rank: the merges that lead to each kept token are kept, in their
  order, so that each step finds the pair that it found.
- Unigram takes the likeliest pieces: the path that was the best still is. An unknown character
  costs 10 more than the worst piece, which therefore is kept.

So that other texts fall apart into letters rather than become unknown, pieces of one character are
kept: all of ASCII, all that occur in a kept piece, the 256 letters of bytes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from edgecompile.errors import PromiseError
from edgecompile.prune.count_tokens import encode
from edgecompile.prune.tokenizer_file import TokenizerFile, map_ids

BYTE_PIECES = frozenset(f"<0x{number:02X}>" for number in range(256))
"""How pieces are called that stand for a byte, where characters fall back on bytes."""


def choose_tokens(file: TokenizerFile, used: Iterable[int]) -> list[int]:
    """Return the ids to keep, ascending, so that the used ones still come about."""
    pieces = file.pieces
    kept = {*used, *file.named_ids()}
    if file.kind == "WordLevel":
        return sorted(kept)
    if file.model.get("byte_fallback"):
        kept |= {number for number, piece in pieces.items() if piece in BYTE_PIECES}
    if file.kind == "Unigram":
        kept.add(min(pieces, key=lambda number: file.model["vocab"][number][1]))
    if file.kind == "BPE":
        kept |= set(_merged(file, [pieces[number] for number in kept if number in pieces]))
    letters = {letter for number in kept for letter in pieces.get(number, "")}
    letters |= set(map(chr, range(128)))
    if file.is_byte_level:
        from tokenizers.pre_tokenizers import ByteLevel

        letters |= set(ByteLevel.alphabet())
    return sorted(
        kept | {number for number, piece in pieces.items() if _bare(file, piece) in letters}
    )


def _merged(file: TokenizerFile, tokens: Iterable[str]) -> Iterator[int]:
    """Yield the ids of what BPE makes on its way to tokens, their letters included."""
    ids, prefix = file.model["vocab"], file.model["continuing_subword_prefix"] or ""
    ranks = {(a, b): rank for rank, (a, b) in enumerate(file.model["merges"])}
    for token in tokens:
        parts = _letters(token, prefix, file.model["end_of_word_suffix"] or "")
        while True:
            yield from (ids[part] for part in parts if part in ids)
            pairs = list(pairwise(parts))
            at = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], len(ranks)), default=None)
            if at is None or pairs[at] not in ranks:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1].removeprefix(prefix)]


def _letters(token: str, prefix: str, suffix: str) -> list[str]:
    """Return what BPE starts from: letters, marked as inside or at the end of a word."""
    inside = bool(prefix) and token.startswith(prefix)
    ends = bool(suffix) and token.endswith(suffix)
    letters = list(token.removeprefix(prefix).removesuffix(suffix))
    marked = [prefix * (i > 0 or inside) + letter for i, letter in enumerate(letters)]
    return [*marked[:-1], marked[-1] + suffix * ends] if marked else []


def _bare(file: TokenizerFile, piece: str) -> str:
    """Return a piece without the marks of its place in the word."""
    prefix, suffix = (
        file.model.get(key) or "" for key in ("continuing_subword_prefix", "end_of_word_suffix")
    )
    return piece.removeprefix(prefix).removesuffix(suffix) or piece


def cut_tokenizer(file: TokenizerFile, kept: Sequence[int]) -> str:
    """Return the JSON of the tokenizer with the kept ids alone; kept[i] becomes i."""
    new = {number: place for place, number in enumerate(kept)}
    spec = dict(file.spec)
    spec["model"] = _cut_model(file, new)
    spec["added_tokens"] = [row | {"id": new[row["id"]]} for row in spec["added_tokens"]]
    spec["post_processor"] = map_ids(spec["post_processor"], new.__getitem__)
    if spec["padding"] is not None:
        spec["padding"] = spec["padding"] | {"pad_id": new[spec["padding"]["pad_id"]]}
    return json.dumps(spec, ensure_ascii=False, separators=(",", ":"))


def _cut_model(file: TokenizerFile, new: Mapping[int, int]) -> dict[str, Any]:
    model = dict(file.model)
    if file.kind == "Unigram":
        model["vocab"] = [row for number, row in enumerate(model["vocab"]) if number in new]
        if model["unk_id"] is not None:
            model["unk_id"] = new[model["unk_id"]]
        return model
    model["vocab"] = {piece: new[i] for piece, i in model["vocab"].items() if i in new}
    if file.kind == "BPE":
        prefix = model["continuing_subword_prefix"] or ""
        model["merges"] = [
            [a, b]
            for a, b in model["merges"]
            if {a, b, a + b.removeprefix(prefix)} <= model["vocab"].keys()
        ]
    return model


def check_tokens(file: TokenizerFile, cut: str, kept: Sequence[int], texts: Iterable[str]) -> int:
    """Tokenize a corpus with both; return how many of its texts have lost a token.

    All others must give the same tokens: what does not is our bug, and raises PromiseError.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(cut)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = np.array(kept)
    lost = 0
    for batch, encodings in encode(file.tokenizer, texts):
        for text, before, after in zip(
            batch, encodings, tokenizer.encode_batch(batch), strict=True
        ):
            if ids[after.ids].tolist() == before.ids:
                continue
            if np.isin(before.ids, ids).all():
                name, fact = "cut-tokenizer", "A text whose tokens are kept gives the same tokens."
                raise PromiseError(name, fact, f"{text[:60]!r} does not")
            lost += 1
    return lost
