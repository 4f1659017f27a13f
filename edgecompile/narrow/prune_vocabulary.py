"""Cut the tokens that a task's corpus never uses: rows of the table, and the tokenizer with them.

    corpus -> how often each token occurs -> which ones are kept -> table, tokenizer -> the check:
    the corpus gives the same tokens as before

The dense model is asked as before; the narrower one reads texts through its own tokenizer. Texts
of the corpus are the same to both. Of others, words may fall apart into more tokens than before.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile import files
from edgecompile.errors import DataError, ModelError, UnsupportedError
from edgecompile.recipe import Recipe
from edgecompile.scratch import scratch_folder
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.data.feed import Feed
    from edgecompile.parts import Part


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A model with fewer tokens.

    `tokenizer` is its tokenizer.json, `table` what the manifest says of the cut, `data` what it
    reads, and `golden` the same golden samples as the dense model reads them.
    """

    model: "ir.Model"
    tokenizer: bytes
    table: Mapping[str, Any]
    data: "Dataset"
    golden: "Sequence[Feed]"


@dataclass(frozen=True, slots=True)
class _Corpus:
    """A file of texts, each pass over them read anew, and the tokenizer.json to read them with."""

    path: Path
    texts: Callable[[], Iterator[str]]
    tokenizer: Path


def prune_vocabulary(
    model: "ir.Model",
    part: "Part",
    dense: "Dataset",
    *,
    folder: Path,
    longest: int,
    recipe: Recipe,
    trace: Trace,
) -> Narrowed:
    """Cut what the recipe's corpus never uses; `folder` holds the model's tokenizer.json.

    `dense` is the data as the model reads it. Raises DataError for a corpus that cannot be read,
    UnsupportedError for a graph or tokenizer that cannot be cut, PromiseError (our bug) if the
    corpus does not give the same tokens.
    """
    from edgecompile.parts import has_cache

    if part.name or has_cache(model):
        msg = "[prune] vocabulary: a decoder may answer with any token, so that none can be cut"
        raise UnsupportedError(msg)
    for use in (dense.calibrated, dense.judged):
        if use["kind"] != "text":
            msg = (
                f"{use['data']}: is no text; with [prune] vocabulary, all data must be: only texts"
                " can be read through a cut tokenizer"
            )
            raise DataError(msg)
    corpus = _open_corpus(part.front(model), recipe, folder, longest)
    with trace.step("prune", "cut-vocabulary") as done:
        trace.say("prune", f"counting the tokens of {corpus.path.name}")
        cut, kept, tokenizer, table = _cut(model, corpus, recipe.prune.vocabulary_min_count)
        trace.say("prune", f"{len(kept)} of {table['before']} tokens are kept")
        done(cut)
    data = _read_again(cut, part, tokenizer, longest, recipe)
    digest = str(table["sha256"])
    data = replace(data, hashes={**dense.hashes, f"vocabulary/{corpus.path.name}": digest})
    golden, data, counts = _pair(cut, kept, dense, data, longest)
    return Narrowed(cut, tokenizer.encode(), table | counts, data, golden)


def _open_corpus(front: "ir.Model", recipe: Recipe, folder: Path, longest: int) -> _Corpus:
    from edgecompile.data.source import open_source, request_of, word_of

    request = request_of(front, folder, longest)
    named = recipe.prune.vocabulary
    path = recipe.path(named)
    asked = replace(request, column=recipe.prune.vocabulary_column)
    source = None if word_of(named) or path.is_dir() else open_source(path, asked)
    if source is None or source.texts is None or source.through is None:
        msg = f"{path}: is no text; [prune] vocabulary takes a .txt, .jsonl, .csv or .tsv"
        raise DataError(msg)
    return _Corpus(path, source.texts, source.through)


def _cut(
    model: "ir.Model", corpus: _Corpus, least: int
) -> "tuple[ir.Model, list[int], str, dict[str, Any]]":
    """Return the graph, the old ids by new ones, tokenizer.json, and the manifest's table."""
    from edgecompile.prune.count_tokens import count_tokens
    from edgecompile.prune.cut_tokenizer import check_tokens, choose_tokens, cut_tokenizer
    from edgecompile.prune.cut_vocabulary import cut_vocabulary, find_vocabulary
    from edgecompile.prune.tokenizer_file import open_tokenizer

    found = find_vocabulary(model)
    file = open_tokenizer(corpus.tokenizer)
    fixed = {*file.named_ids(), *found.named_ids()}
    if max(fixed, default=0) >= found.rows:
        msg = f"{corpus.tokenizer}: names token id {max(fixed)}, the model has {found.rows} tokens"
        raise ModelError(msg)
    counts = count_tokens(file, corpus.texts(), found.rows)
    used = set(np.flatnonzero(counts >= least).tolist())
    if used <= fixed:
        msg = f"{corpus.path}: no token occurs {least} times, so that [prune] would cut them all"
        raise DataError(msg)
    kept = choose_tokens(file, used | fixed)
    tokenizer = cut_tokenizer(file, kept)
    table = {
        "before": found.rows,
        "after": len(kept),
        "corpus": corpus.path.name,
        "sha256": files.sha256(corpus.path),
        "min_count": least,
        "texts_with_rare_tokens": check_tokens(file, tokenizer, kept, corpus.texts()),
    }
    return cut_vocabulary(model, kept), kept, tokenizer, table


def _read_again(
    cut: "ir.Model", part: "Part", tokenizer: str, longest: int, recipe: Recipe
) -> "Dataset":
    """Open the recipe's data through the cut tokenizer."""
    from edgecompile.data.dataset import choose_data
    from edgecompile.data.encoder import TOKENIZER
    from edgecompile.parts import complete_data

    own = replace(recipe, model=replace(recipe.model, tokenizer=""))
    with scratch_folder() as scratch:
        (scratch / TOKENIZER).write_text(tokenizer, encoding="utf-8")
        data = choose_data(own, part.front(cut), scratch, longest)
    return data if part.complete is None else complete_data(data, part.complete)


def _pair(
    cut: "ir.Model", kept: Sequence[int], dense: "Dataset", data: "Dataset", longest: int
) -> "tuple[list[Feed], Dataset, dict[str, int]]":
    """Return the golden samples as the dense model reads them, the cut one's data, and counts.

    Where outputs have a row a token, samples that now have more tokens, or fewer, cannot be
    compared, and are left out; so are those that were cut to the longest sequence.
    """
    from edgecompile.data.dataset import FEWEST_GOLDEN

    texts = data.texts or [""] * len(data.golden)
    pairs = list(zip(dense.golden, data.golden, texts, strict=True))
    outside = sum(not _same(old, new, kept) for old, new, _ in pairs)
    asked = len(pairs)
    if _has_rows(cut):
        pairs = [
            (old, new, text)
            for old, new, text in pairs
            if _same(old, new, kept) or _length(old) == _length(new) < longest
        ]
    if len(pairs) < FEWEST_GOLDEN:
        msg = (
            f"{data.judged['data']}: {asked - len(pairs)} of {asked} golden samples become other"
            " tokens, and not as many, so that too few are left to judge by; name [evaluate] data"
            " of the corpus"
        )
        raise DataError(msg)
    judged = {**data.judged, "samples": len(pairs)}
    texts = [text for _, _, text in pairs] if data.texts else []
    data = replace(data, golden=[new for _, new, _ in pairs], judged=judged, texts=texts)
    counts = {"golden_outside": outside, "golden_left_out": asked - len(pairs)}
    return [old for old, _, _ in pairs], data, counts


def _same(old: "Feed", new: "Feed", kept: Sequence[int]) -> bool:
    """Say whether two samples are the same tokens."""
    return np.array_equal(old["input_ids"], np.asarray(kept)[new["input_ids"]])


def _length(feed: "Feed") -> int:
    """Count the tokens of a sample that are no padding."""
    ids = feed["input_ids"]
    return int(feed["attention_mask"].sum()) if "attention_mask" in feed else int(ids.size)


def _has_rows(model: "ir.Model") -> bool:
    """Say whether an output may have a row a token: an axis behind the batch is open."""
    shapes = [value.shape for value in model.graph.outputs]
    return any(
        shape is None or any(not isinstance(size, int) for size in shape[1:]) for shape in shapes
    )
