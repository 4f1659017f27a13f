"""The parts of a tokenizer.json that name token ids, and the pieces of its model."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.data.encoder import PADDING, read_tokenizer
from edgecompile.errors import UnsupportedError

if TYPE_CHECKING:
    import tokenizers

MODELS = ("WordPiece", "BPE", "Unigram", "WordLevel")
"""The kinds of tokenizer that the library `tokenizers` has: all of them."""


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A tokenizer, and its JSON in the one form in which today's library writes it."""

    tokenizer: "tokenizers.Tokenizer"
    spec: Mapping[str, Any]

    @property
    def model(self) -> Mapping[str, Any]:
        """Return the table of its model."""
        found: Mapping[str, Any] = self.spec["model"]
        return found

    @property
    def kind(self) -> str:
        """Return one of MODELS."""
        return str(self.model["type"])

    @property
    def pieces(self) -> dict[int, str]:
        """Return the pieces of its model by id; tokens that were added to it may not be among."""
        if self.kind == "Unigram":
            return {number: piece for number, (piece, _) in enumerate(self.model["vocab"])}
        return {number: piece for piece, number in self.model["vocab"].items()}

    @property
    def is_byte_level(self) -> bool:
        """Say whether texts become bytes, each written as one of 256 letters."""
        steps = json.dumps([self.spec["pre_tokenizer"], self.spec["normalizer"]])
        return '"ByteLevel"' in steps

    def named_ids(self) -> Iterator[int]:
        """Yield the ids that are needed whatever the text: added, unknown, padding, template."""
        yield from (token["id"] for token in self.spec["added_tokens"])
        unknown = self.model.get("unk_id")
        if "unk_token" in self.model and self.model["unk_token"] is not None:
            unknown = self.tokenizer.token_to_id(self.model["unk_token"])
        yield from () if unknown is None else (unknown,)
        padding = map(self.tokenizer.token_to_id, PADDING)
        yield from (number for number in padding if number is not None)
        if self.spec["padding"] is not None:
            yield self.spec["padding"]["pad_id"]
        found: set[int] = set()

        def note(number: int) -> int:
            found.add(number)
            return number

        map_ids(self.spec["post_processor"], note)
        yield from found


def open_tokenizer(path: Path) -> TokenizerFile:
    """Read a tokenizer.json; refuse one whose tokens are drawn by chance."""
    tokenizer = read_tokenizer(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    file = TokenizerFile(tokenizer, json.loads(read_tokenizer(path).to_str()))
    if file.kind not in MODELS:
        msg = f"{path}: a tokenizer of the kind '{file.kind}' cannot be cut; {', '.join(MODELS)}"
        raise UnsupportedError(msg)
    if file.model.get("dropout"):
        msg = f"{path}: 'dropout' draws tokens by chance, so that none can be cut; set it to null"
        raise UnsupportedError(msg)
    return file


def map_ids(processor: Any, new_id: Callable[[int], int]) -> Any:
    """Return a post-processor with its ids renumbered; None stays None."""
    if processor is None:
        return None
    processor = dict(processor)
    if "processors" in processor:
        processor["processors"] = [map_ids(each, new_id) for each in processor["processors"]]
    for key in ("cls", "sep"):
        if key in processor:
            token, number = processor[key]
            processor[key] = [token, new_id(number)]
    if "special_tokens" in processor:
        processor["special_tokens"] = {
            token: row | {"ids": [new_id(number) for number in row["ids"]]}
            for token, row in processor["special_tokens"].items()
        }
    return processor
