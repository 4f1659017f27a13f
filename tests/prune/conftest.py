"""What the pruning tests share: tiny encoders, what equals a removal, trained tokenizers."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from edgecompile.data.dataset import data_dir
from edgecompile.data.kinds.texts import read_texts
from edgecompile.export import read_model
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.group import Group
from edgecompile.prune.remove_units import remove_units

Array = npt.NDArray[Any]
SIZE = 600
START, END, PAD, UNKNOWN = "<s>", "</s>", "<pad>", "<unk>"
SPECIAL = [START, PAD, END, UNKNOWN]
ENDS = [(START, 0), (END, 2)]


@pytest.fixture
def encoder(checkpoint: Callable[..., Path]) -> Callable[..., ir.Model]:
    """Return a factory of tiny canonical encoders; its keywords are those of `checkpoint`."""

    def make(family: str = "bert", **changes: Any) -> ir.Model:
        return read_model.export(read_model.find_source(checkpoint(family, **changes)))

    return make


@pytest.fixture(scope="session")
def tokens() -> Callable[..., dict[str, Array]]:
    """Return a function that makes the inputs of a tiny encoder, [B, S], the last one padded."""

    def make(model: ir.Model, batch: int = 2, sequence: int = 7) -> dict[str, Array]:
        random = np.random.default_rng(0)
        mask = np.ones((batch, sequence), np.int64)
        mask[-1, sequence // 2 + 1 :] = 0
        arrays = {
            "input_ids": random.integers(5, 100, mask.shape),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        return {str(v.name): arrays[str(v.name)] for v in model.graph.inputs}

    return make


@pytest.fixture(scope="session")
def zeroed() -> Callable[..., ir.Model]:
    """Return a function that makes readers ignore the units that are not kept."""

    def change(
        model: ir.Model, groups: Iterable[Group], keep: Mapping[str, Sequence[int]]
    ) -> ir.Model:
        model = model.clone()
        for group in groups:
            for name in group.readers:
                value = model.graph.initializers[name]
                assert value.const_value is not None
                rows = value.const_value.numpy().copy().reshape(group.units, -1)
                rows[np.setdiff1d(np.arange(group.units), keep[group.name])] = 0
                value.const_value = ir.Tensor(rows.reshape(value.const_value.numpy().shape))
        return model

    return change


@pytest.fixture(scope="session")
def prunes(zeroed: Any, equal: Any) -> Callable[..., ir.Model]:
    """Return a check: without units that nobody listens to, a model answers the same.

    `prunes(model, feed, keep)` removes all units but those of `keep` (by default the even ones of
    every group), and returns the narrower model.
    """

    def check(
        model: ir.Model, feed: Mapping[str, Array], keep: Mapping[str, Sequence[int]] | None = None
    ) -> ir.Model:
        groups = find_groups(model).found
        assert groups
        keep = keep or {group.name: range(0, group.units, 2) for group in groups}
        untouched = ir.to_proto(model).SerializeToString(deterministic=True)
        narrow = remove_units(model, groups, keep)
        assert ir.to_proto(model).SerializeToString(deterministic=True) == untouched
        equal(zeroed(model, groups, keep), narrow, feed)
        return narrow

    return check


def texts(name: str, count: int) -> list[str]:
    """Return the first texts of a committed set."""
    return list(islice(read_texts(data_dir() / name), count))


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    _train(tokenizer, trainers.WordPieceTrainer(vocab_size=SIZE, special_tokens=SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=ENDS
    )
    return tokenizer


def _wordlevel() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    _train(tokenizer, trainers.WordLevelTrainer(vocab_size=SIZE, special_tokens=SPECIAL))
    tokenizer.post_processor = processors.BertProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def _bytes() -> Tokenizer:
    """Return BPE as GPT-2 and RoBERTa have it: over the 256 letters of bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    _train(
        tokenizer,
        trainers.BpeTrainer(vocab_size=SIZE, special_tokens=SPECIAL, initial_alphabet=alphabet),
    )
    tokenizer.post_processor = processors.Sequence(
        [processors.ByteLevel(), processors.RobertaProcessing(("</s>", 2), ("<s>", 0))]
    )
    return tokenizer


def _suffix() -> Tokenizer:
    """Return BPE as CLIP has it: the last piece of a word is marked."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    _train(
        tokenizer,
        trainers.BpeTrainer(vocab_size=SIZE, special_tokens=SPECIAL, end_of_word_suffix="</w>"),
    )
    return tokenizer


def _prefix() -> Tokenizer:
    """Return BPE whose pieces inside a word are marked."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, continuing_subword_prefix="##"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    _train(
        tokenizer,
        trainers.BpeTrainer(
            vocab_size=SIZE, special_tokens=SPECIAL, continuing_subword_prefix="##"
        ),
    )
    return tokenizer


def _fallback() -> Tokenizer:
    """Return BPE as Llama and Gemma have it: unknown characters become bytes."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    special = [*SPECIAL, *(f"<0x{number:02X}>" for number in range(256))]
    _train(tokenizer, trainers.BpeTrainer(vocab_size=SIZE + 256, special_tokens=special))
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    _train(
        tokenizer,
        trainers.UnigramTrainer(vocab_size=SIZE, special_tokens=SPECIAL, unk_token=UNKNOWN),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=ENDS
    )
    tokenizer.enable_padding(pad_id=1, pad_token=PAD)
    tokenizer.enable_truncation(32)
    return tokenizer


def _train(tokenizer: Tokenizer, trainer: object) -> None:
    tokenizer.train_from_iterator(texts("docs.jsonl", 256), trainer)


KINDS: dict[str, Callable[[], Tokenizer]] = {
    "WordPiece": _wordpiece,
    "WordLevel": _wordlevel,
    "BPE of bytes": _bytes,
    "BPE with a suffix": _suffix,
    "BPE with a prefix": _prefix,
    "BPE with fallback": _fallback,
    "Unigram": _unigram,
}


@cache
def _trained(kind: str) -> str:
    return str(KINDS[kind]().to_str())


@pytest.fixture
def trained() -> Callable[[str], str]:
    """Return a function that gives the JSON of a trained tokenizer of a kind."""
    return _trained


@pytest.fixture(params=KINDS)
def tokenizer_json(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a tokenizer.json of each kind in turn."""
    path = tmp_path / "tokenizer.json"
    path.write_text(_trained(request.param), encoding="utf-8")
    return path
