"""Texts of the corpus give the same tokens through a cut tokenizer, whatever its kind."""

import json
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from edgecompile.data.dataset import data_dir
from edgecompile.data.kinds.texts import read_texts
from edgecompile.errors import EdgeCompileError, PromiseError, UnsupportedError
from edgecompile.prune.count_tokens import count_tokens
from edgecompile.prune.cut_tokenizer import check_tokens, choose_tokens, cut_tokenizer
from edgecompile.prune.tokenizer_file import TokenizerFile, open_tokenizer

STRANGE = [
    "naïve ☃☃ Füße",
    "漢字と かな",
    "a\u0301 \u200d 🙂🙂",
    "   ",
    "x" * 200,
    "</s> in <pad> it",
]


def corpus(count: int) -> list[str]:
    """Return sentences, and what no tokenizer was trained on."""
    return [*islice(read_texts(data_dir() / "heldout.jsonl"), count), *STRANGE]


def cut(file: TokenizerFile, texts: Iterable[str], least: int = 1) -> tuple[list[int], str]:
    """Return the kept ids and the cut tokenizer's JSON."""
    counts = count_tokens(file, texts, 100_000)
    kept = choose_tokens(file, np.flatnonzero(counts >= least).tolist())
    return kept, cut_tokenizer(file, kept)


def save(tmp_path: Path, tokenizer: Tokenizer) -> TokenizerFile:
    """Write a tokenizer and open it."""
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return open_tokenizer(tmp_path / "tokenizer.json")


def test_the_corpus_gives_the_same_tokens(tokenizer_json: Path) -> None:
    """Token for token; the tokenizer is smaller, and its ids have no gaps."""
    file = open_tokenizer(tokenizer_json)
    texts = corpus(8)
    kept, text = cut(file, texts)
    after = Tokenizer.from_str(text)
    after.no_padding()
    after.no_truncation()
    for words in texts:
        expected = file.tokenizer.encode(words)
        found = after.encode(words)
        assert found.tokens == expected.tokens
        assert [kept[i] for i in found.ids] == expected.ids
        assert after.decode(found.ids) == file.tokenizer.decode(expected.ids)
    vocabulary = after.get_vocab(with_added_tokens=True)
    assert sorted(vocabulary.values()) == list(range(len(kept)))
    assert len(kept) < file.tokenizer.get_vocab_size()
    assert check_tokens(file, text, kept, texts) == 0


@given(chosen=st.sets(st.integers(0, 60), max_size=4), odd=st.text(min_size=1, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_any_corpus_gives_the_same_tokens(tokenizer_json: Path, chosen: set[int], odd: str) -> None:
    """Whatever the texts are: the check over the corpus finds none that has changed."""
    file = open_tokenizer(tokenizer_json)
    sentences = corpus(55)
    texts = [odd, *(sentences[number] + odd for number in sorted(chosen) if number < 55)]
    kept, text = cut(file, texts)
    assert check_tokens(file, text, kept, texts) == 0


def test_other_texts_fall_apart_into_known_pieces(tokenizer_json: Path) -> None:
    """English words that were cut are still spelled; only whole words can be unknown to a list."""
    file = open_tokenizer(tokenizer_json)
    _, text = cut(file, ["the of and to in is that Value"])
    after = Tokenizer.from_str(text)
    unknown = after.token_to_id("<unk>")
    found = after.encode("wonderful zebra quickly")
    assert (unknown in found.ids) == (file.kind == "WordLevel")


def test_what_the_tokenizer_names_is_kept_and_counted_anew(tokenizer_json: Path) -> None:
    """Special tokens, padding, unknown, the template: by the same words, under the new ids."""
    file = open_tokenizer(tokenizer_json)
    kept, text = cut(file, corpus(4))
    after = open_tokenizer_text(tokenizer_json, text)
    for token in ("<s>", "</s>", "<pad>", "<unk>"):
        assert kept[after.tokenizer.token_to_id(token)] == file.tokenizer.token_to_id(token)
    assert sorted(kept[i] for i in after.named_ids()) == sorted(file.named_ids())
    assert cut(file, corpus(4))[1] == text, "the same corpus gives the same bytes"


def open_tokenizer_text(path: Path, text: str) -> TokenizerFile:
    """Open a tokenizer's JSON."""
    other = path.with_name("cut.json")
    other.write_text(text, encoding="utf-8")
    return open_tokenizer(other)


def test_added_tokens_stay_though_no_text_has_them(tokenizer_json: Path) -> None:
    """They lie behind the model's own ids, and do so afterwards."""
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.add_special_tokens(["<extra>"])
    tokenizer.add_tokens([AddedToken("sensor42", single_word=True)])
    tokenizer.save(str(tokenizer_json))
    file = open_tokenizer(tokenizer_json)
    kept, text = cut(file, corpus(4))
    after = Tokenizer.from_str(text)
    assert "sensor42" in after.encode("a sensor42 there").tokens
    assert kept[after.token_to_id("<extra>")] == file.tokenizer.token_to_id("<extra>")
    assert kept[-2:] == [file.tokenizer.token_to_id(t) for t in ("<extra>", "sensor42")]


def test_padding_is_kept_by_its_name(tmp_path: Path) -> None:
    """A tokenizer.json need not say that a piece is special; batches are filled with it."""
    vocabulary = {"[UNK]": 0, "[PAD]": 1, "red": 2, "green": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    assert cut(save(tmp_path, tokenizer), ["green"])[0] == [0, 1, 3]


def test_rare_tokens_go_too(tokenizer_json: Path) -> None:
    """Texts that have one are counted; all others give the same tokens."""
    file = open_tokenizer(tokenizer_json)
    texts = corpus(40)
    kept, text = cut(file, texts, least=3)
    assert len(kept) < len(cut(file, texts)[0])
    assert 0 < check_tokens(file, text, kept, texts) < len(texts)


def test_what_a_missing_piece_changes_is_found(tokenizer_json: Path) -> None:
    """Without what choose_tokens adds, or with two pieces exchanged, the check fails."""
    file = open_tokenizer(tokenizer_json)
    texts = corpus(4)
    kept, text = cut(file, texts)
    spec = json.loads(text)
    entries = spec["model"]["vocab"]
    number = kept.index(max(set(file.tokenizer.encode(texts[0]).ids[1:-1])))
    other = number - 1
    if isinstance(entries, list):
        entries[number][0], entries[other][0] = entries[other][0], entries[number][0]
    else:
        names = {i: name for name, i in entries.items()}
        entries[names[number]], entries[names[other]] = other, number
    with pytest.raises(PromiseError, match="bug in cut-tokenizer") as caught:
        check_tokens(file, json.dumps(spec), kept, texts)
    assert caught.value.exit_code == 70


# ------------------------------------------------------------------ what is kept, and why


def test_a_word_that_wordpiece_gives_up_on_stays_unknown(tmp_path: Path) -> None:
    """The "ab" that it found counts: without it, "a" and "##b☃" would be found instead."""
    pieces = ["[UNK]", "ab", "a", "##b☃", "##b"]
    tokenizer = Tokenizer(
        models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=pieces[0])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    file = save(tmp_path, tokenizer)
    texts = ["ab☃", "a"]
    assert file.tokenizer.encode(texts[0]).tokens == ["[UNK]"]
    kept, text = cut(file, texts)
    assert Tokenizer.from_str(text).encode(texts[0]).tokens == ["[UNK]"]
    without = sorted({*kept, pieces.index("##b☃")} - {pieces.index("ab")})
    other = Tokenizer.from_str(cut_tokenizer(file, without))
    assert other.encode(texts[0]).tokens == ["a", "##b☃"]


def test_the_price_of_the_unknown_stays(tmp_path: Path) -> None:
    """Unigram prices an unknown character by the worst piece: cheaper, it would be chosen here."""
    pieces = [("<unk>", 0.0), ("xw", -12.0), ("z", -12.0), ("wz", -1.0), ("qqq", -30.0)]
    file = save(tmp_path, Tokenizer(models.Unigram(pieces, 0)))
    kept, text = cut(file, ["xwz", "wz"])
    assert Tokenizer.from_str(text).encode("xwz").tokens == ["xw", "z"]
    assert 4 in kept
    other = Tokenizer.from_str(cut_tokenizer(file, [i for i in kept if i != 4]))
    assert other.encode("xwz").tokens == ["x", "wz"]


def test_bpe_keeps_the_merges_that_lead_to_a_token(tmp_path: Path) -> None:
    """What "lower" comes about by, "lo", "er", "wer", stays, though no text shows it."""
    merges = [("l", "o"), ("e", "r"), ("w", "er"), ("lo", "wer"), ("n", "o"), ("no", "wer")]
    pieces = ["<unk>", *"lowern", *("".join(pair) for pair in merges)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    file = save(tmp_path, Tokenizer(models.BPE(vocabulary, merges, unk_token=pieces[0])))
    kept, text = cut(file, ["lower"])
    assert [pieces[i] for i in kept if len(pieces[i]) > 1] == [
        "<unk>",
        "lo",
        "er",
        "wer",
        "lower",
    ]
    assert json.loads(text)["model"]["merges"] == [list(pair) for pair in merges[:4]]
    assert Tokenizer.from_str(text).encode("nower").tokens == ["n", "o", "wer"]


def test_words_that_bpe_never_merges_stay_whole(tmp_path: Path) -> None:
    """With ignore_merges (Llama 3), a word of the vocabulary is a token without any merge."""
    vocabulary = {piece: i for i, piece in enumerate(["a", "b", "abba", "baab"])}
    file = save(tmp_path, Tokenizer(models.BPE(vocabulary, [], ignore_merges=True)))
    kept, text = cut(file, ["abba"])
    assert kept == [0, 1, 2]
    assert Tokenizer.from_str(text).encode("abba").tokens == ["abba"]


def test_tokens_by_chance_are_refused(tmp_path: Path) -> None:
    """BPE with dropout gives other tokens each time."""
    with pytest.raises(UnsupportedError, match="'dropout' draws tokens by chance"):
        save(tmp_path, Tokenizer(models.BPE({"a": 0}, [], dropout=0.1)))


@pytest.mark.parametrize(
    "change",
    [{"model": {"type": "Neural", "vocab": {}}}, {"model": None}, {"added_tokens": [{"id": -1}]}],
)
def test_a_tokenizer_of_an_unknown_kind_is_named(
    change: dict[str, Any], tokenizer_json: Path
) -> None:
    """One line with the file's name."""
    spec = json.loads(tokenizer_json.read_text(encoding="utf-8")) | change
    tokenizer_json.write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(EdgeCompileError) as caught:
        open_tokenizer(tokenizer_json)
    assert str(caught.value).startswith(str(tokenizer_json))
    assert "\n" not in str(caught.value)
