"""Data -> model inputs: text through the model's own tokenizer, or an .npz of inputs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import DataError, ModelError
from edgecompile.graph import dim, scalar, slices_rows

if TYPE_CHECKING:
    import onnx_ir as ir
    import tokenizers

Feed = Mapping[str, np.ndarray[Any, Any]]
"""One sample: input name -> array, batch 1."""

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""What a text becomes; a model may take fewer."""


def data_dir() -> Path:
    """Return `calibration_data/`: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "calibration_data"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "calibration_data"


@dataclass(frozen=True, slots=True)
class Encoder:
    """Turns texts into the inputs of one model, [1, S]; padded only where its length is fixed."""

    tokenizer: "tokenizers.Tokenizer"
    inputs: Mapping[str, np.dtype[Any]]
    longest: int

    def __call__(self, texts: Sequence[str]) -> Iterator[Feed]:
        """Yield one feed a text, cut to the longest sequence."""
        for text in texts:
            encoding = self._encode(text)
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
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        msg = (
            f"{folder}: no tokenizer.json to read texts with; put the model's own there, or give"
            " model inputs as --data FILE.npz"
        )
        raise DataError(msg)
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        msg = f"{path}: not a readable tokenizer ({error})"
        raise ModelError(msg) from error
    inputs = {
        str(value.name): value.dtype.numpy() if value.dtype is not None else np.dtype(np.int64)
        for value in model.graph.inputs
    }
    unknown = [name for name in inputs if name not in INPUTS]
    if unknown or "input_ids" not in inputs:
        msg = (
            f"the model's inputs {list(inputs)} are not those of a text model; give model inputs"
            " as --data FILE.npz"
        )
        raise DataError(msg)
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
    ids = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
    return next((number for number in ids if number is not None), 0)


def takes_any_length(model: "ir.Model") -> bool:
    """Say whether all inputs are rows of tokens, [B, S], whose length the model leaves open."""
    shapes = [value.shape for value in model.graph.inputs]
    return all(s is not None and len(s) == 2 and not isinstance(s[1], int) for s in shapes)


def table_rows(model: "ir.Model") -> int | None:
    """Return the rows of the embedding table that input_ids look up."""
    for value in model.graph.inputs:
        if value.name == "input_ids":
            for node in value.consumers():
                if node.op_type == "Gather" and (table := node.inputs[0]) and table.shape:
                    return dim(table, 0)
    return None


def longest_sequence(model: "ir.Model", limit: int) -> int:
    """Return how many tokens a canonical graph takes, at most `limit`: its position tables end.

    A table is read by Slice (positions 0, 1, ...), or by Gather with counted positions plus an
    offset (RoBERTa's start behind the padding id).
    """
    for node in model.graph:
        table = node.inputs[0] if node.inputs else None
        if table is None or not table.is_initializer() or table.shape is None:
            continue
        rows = table.dtype is not None and table.dtype.is_floating_point() and len(table.shape) == 2
        if rows and slices_rows(node):
            limit = min(limit, dim(table, 0))
        elif node.op_type == "Gather" and (offset := _position_offset(node)) is not None:
            limit = min(limit, dim(table, 0) - offset - 1)
    return limit


def _position_offset(gather: "ir.Node") -> int | None:
    index = gather.inputs[1].producer() if gather.inputs[1] is not None else None
    if index is None or index.op_type != "Add":
        return None
    numbers = [scalar(value) for value in index.inputs]
    return next((int(number) for number in numbers if number is not None), None)


def read_texts(path: Path) -> list[str]:
    """Read texts: .jsonl with a "text" key, or .txt with one a line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot read texts from it: {error}"
        raise DataError(msg) from error
    texts = [_text(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not texts:
        msg = f"{path}: holds no text; give a .txt file with a text a line, or a .jsonl"
        raise DataError(msg)
    return texts


def _text(path: Path, number: int, line: str) -> str:
    if path.suffix != ".jsonl":
        return line
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = f"{path}, line {number}: not a JSON object with the key 'text'"
        raise DataError(msg) from error
    if not isinstance(text, str) or not text.strip():
        msg = f"{path}, line {number}: 'text' is not a text"
        raise DataError(msg)
    return text


def read_inputs(path: Path, model: "ir.Model") -> list[Feed]:
    """Read an .npz of model inputs, arrays [samples, ...] by input name: one feed a sample."""
    names = [str(value.name) for value in model.graph.inputs]
    arrays = _load_npz(path)
    if sorted(arrays) != sorted(names):
        msg = f"{path}: holds {sorted(arrays)} but the model's inputs are {sorted(names)}"
        raise DataError(msg)
    for value in model.graph.inputs:
        _check(path, value, arrays[str(value.name)])
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        msg = f"{path}: arrays hold {sorted(counts)} samples; each must hold the same number"
        raise DataError(msg)
    _check_tokens(path, model, arrays)
    return [{name: arrays[name][i : i + 1] for name in names} for i in range(counts.pop())]


def _load_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            return {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as e:  # zipfile, zlib and numpy each raise their own
        msg = f"{path}: not a readable .npz of plain arrays: {e or type(e).__name__}"
        raise DataError(msg) from e


def _check_tokens(path: Path, model: "ir.Model", arrays: Feed) -> None:
    """Check what a text model would stumble over: ids, lengths, empty masks."""
    ids, mask = arrays.get("input_ids"), arrays.get("attention_mask")
    if ids is None or ids.ndim != 2:
        return
    rows, longest = table_rows(model), longest_sequence(model, 10**9)
    if not 1 <= ids.shape[1] <= longest:
        msg = f"{path}: input_ids are {ids.shape[1]} tokens long, the model takes 1 to {longest}"
        raise DataError(msg)
    if rows is not None and (ids.min() < 0 or ids.max() >= rows):
        msg = f"{path}: input_ids run from {ids.min()} to {ids.max()}, the table has {rows} rows"
        raise DataError(msg)
    shapes = {name: list(arrays[name].shape) for name in INPUTS if name in arrays}
    if any(shape != list(ids.shape) for shape in shapes.values()):
        msg = f"{path}: token inputs differ in shape: {shapes}"
        raise DataError(msg)
    if mask is not None and not np.isin(mask, (0, 1)).all():
        msg = f"{path}: attention_mask holds other numbers than 0 and 1"
        raise DataError(msg)
    if mask is not None and not mask.any(axis=1).all():
        msg = f"{path}: attention_mask of sample {int(mask.any(axis=1).argmin())} is all 0"
        raise DataError(msg)


def _check(path: Path, value: "ir.Value", array: np.ndarray[Any, Any]) -> None:
    dtype = value.dtype.numpy() if value.dtype is not None else array.dtype
    if array.dtype != dtype:
        msg = f"{path}: input '{value.name}' is {array.dtype}, the model takes {dtype}"
        raise DataError(msg)
    shape = list(value.shape or [])
    fits = len(shape) == array.ndim and all(
        not isinstance(want, int) or want == have
        for want, have in zip(shape[1:], array.shape[1:], strict=True)
    )
    if value.shape is not None and not fits:
        msg = f"{path}: input '{value.name}' has shape {list(array.shape)}, the model takes {shape}"
        raise DataError(msg)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        msg = f"{path}: input '{value.name}' holds NaN or infinity"
        raise DataError(msg)


def valid_tokens(feed: Feed) -> np.ndarray[Any, Any] | None:
    """Return which tokens are not padding, [1, S] of bool, or None if the model has no mask."""
    mask = feed.get("attention_mask")
    return None if mask is None else mask != 0
