"""Texts -> the inputs of one text model, through its own tokenizer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.data.limits import table_rows
from edgecompile.data.signature import TOKENS
from edgecompile.errors import DataError, ModelError

if TYPE_CHECKING:
    import onnx_ir as ir
    import tokenizers

TOKENIZER = "tokenizer.json"
PADDING = ("[PAD]", "<pad>")
"""What padding is called: a tokenizer.json need not say so."""
CHARACTERS_A_TOKEN = 100
"""More than tokens have: what lies beyond the longest sequence is not even tokenized."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns texts into the inputs of one model, [1, S]; padded only where its length is fixed."""

    tokenizer: "tokenizers.Tokenizer"
    inputs: Mapping[str, np.dtype[Any]]
    longest: int

    @property
    def padding(self) -> int:
        """Return the id that fills up a batch."""
        return _padding_id(self.tokenizer)

    def __call__(self, texts: Iterable[str]) -> Iterator[Feed]:
        """Yield one feed a text, cut to the longest sequence."""
        for text in texts:
            encoding = self._encode(text[: self.longest * CHARACTERS_A_TOKEN])
            rows = {
                "input_ids": encoding.ids,
                "attention_mask": encoding.attention_mask,
                "token_type_ids": encoding.type_ids,
            }
            yield {
                name: np.array([rows[name][: self.longest]], dtype)
                for name, dtype in self.inputs.items()
            }

    def _encode(self, text: str) -> "tokenizers.Encoding":
        try:
            encoding = self.tokenizer.encode(text)
        except Exception as error:
            msg = f"the tokenizer cannot read the text {text[:40]!r}: {error}"
            raise DataError(msg) from error
        if not encoding.ids:
            msg = f"the tokenizer makes no token of the text {text[:40]!r}"
            raise DataError(msg)
        return encoding


def open_encoder(folder: Path, model: "ir.Model", longest: int) -> Encoder:
    """Read tokenizer.json beside a model and check that it fits the model's inputs and table."""
    inputs = {
        str(value.name): value.dtype.numpy() if value.dtype is not None else np.dtype(np.int64)
        for value in model.graph.inputs
    }
    unknown = [name for name in inputs if name not in TOKENS]
    if unknown or "input_ids" not in inputs:
        msg = (
            f"the model's inputs {list(inputs)} are not those of a text model; give data of its"
            " kind with --data, or in the recipe: a folder of images or audio, or model inputs as"
            " .npz"
        )
        raise DataError(msg)
    path = folder / TOKENIZER
    if not path.is_file():
        msg = (
            f"{folder}: no tokenizer.json to read texts with; put the model's own there, or give"
            " model inputs as --data FILE.npz"
        )
        raise DataError(msg)
    tokenizer = read_tokenizer(path)
    length = _fixed_length(model)
    longest = longest if length is None else length
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    if length is not None:
        tokenizer.enable_padding(length=length, pad_id=_padding_id(tokenizer))
    rows = table_rows(model)
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if rows is not None and largest >= rows:
        msg = (
            f"{path}: wrong tokenizer: it gives token ids up to {largest}, the model's embedding"
            f" table has {rows} rows"
        )
        raise ModelError(msg)
    return Encoder(tokenizer, inputs, longest)


def read_tokenizer(path: Path) -> "tokenizers.Tokenizer":
    """Read a tokenizer.json; say what is wrong with it."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        msg = f"{path}: not a readable tokenizer ({error})"
        raise ModelError(msg) from error


def _fixed_length(model: "ir.Model") -> int | None:
    """Return the one length that a text model takes, None if it takes any."""
    for value in model.graph.inputs:
        dims = list(value.shape) if value.shape is not None else []
        if dims and isinstance(dims[0], int) and dims[0] != 1:
            msg = (
                f"input '{value.name}' has a fixed batch of {dims[0]}, texts come one by one;"
                " export with a batch of 1 or a dynamic one"
            )
            raise DataError(msg)
        if len(dims) == 2 and isinstance(dims[1], int):
            return dims[1]
    return None


def _padding_id(tokenizer: "tokenizers.Tokenizer") -> int:
    ids = (tokenizer.token_to_id(token) for token in PADDING)
    return next((number for number in ids if number is not None), 0)
