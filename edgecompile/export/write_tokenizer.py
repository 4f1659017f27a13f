"""What lies beside the weights of a model directory: tokenizer, pooling, ids of tokens.

A tokenizer that was cut is tokenizer.json alone: the older files (vocab.txt, merges.txt, ...) hold
the tokens that are gone, and are left out.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.checkpoint import read_json
from edgecompile.files import write_json

CONFIG, TOKENIZER, SETTINGS = "config.json", "tokenizer.json", "tokenizer_config.json"
ADDED, PADDING = "added_tokens_decoder", "pad_token_id"
KEPT = ("special_tokens_map.json", "modules.json", "*/config.json", "sentence_bert_config.json",
        "config_sentence_transformers.json")  # fmt: skip
"""Files that any tokenizer leaves true."""
UNCUT = ("vocab.txt", "vocab.json", "merges.txt", "*.model", "added_tokens.json", SETTINGS)
"""Files that are true only of the whole tokenizer."""

NewId = Callable[[int], int | None]


def write_beside(folder: Path, tokenizer: bytes, cut_from: Path | None, output: Path) -> None:
    """Copy what belongs to `folder`'s model; write `tokenizer`, and its ids into config.json.

    `cut_from` is the tokenizer.json that `tokenizer` is a cut of, None for none; config.json is
    that of `output`. Raises UnsupportedError where its ids cannot say what the graph computes.
    """
    for pattern in (*KEPT, *(UNCUT if cut_from is None else ())):
        for path in sorted(folder.glob(pattern)):
            place = output / path.relative_to(folder)
            place.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, place)
    if tokenizer:
        (output / TOKENIZER).write_bytes(tokenizer)
    if cut_from is not None:
        new_id = _new_ids(cut_from, tokenizer)
        _renumber_config(output / CONFIG, new_id)
        if (folder / SETTINGS).is_file():
            write_json(output / SETTINGS, _renumbered(read_json(folder / SETTINGS), new_id))


def _new_ids(old: Path, tokenizer: bytes) -> NewId:
    import tokenizers

    from edgecompile.data.encoder import read_tokenizer

    before, after = read_tokenizer(old), tokenizers.Tokenizer.from_str(tokenizer.decode())

    def new_id(number: int) -> int | None:
        token = before.id_to_token(number) if 0 <= number < 1 << 32 else None
        found: int | None = None if token is None else after.token_to_id(token)
        return found

    return new_id


def _renumber_config(path: Path, new_id: NewId) -> None:
    values = read_json(path)
    ids = {k: v for k, v in values.items() if k.endswith("_token_id") and isinstance(v, int)}
    if "roberta" in values["model_type"]:
        padding = ids.setdefault(PADDING, 1)
        if new_id(padding) != padding:
            msg = (
                f"{path.name}: positions count from the padding id, which was {padding} and would"
                f" be {new_id(padding)}; leave [prune] vocabulary out to write this model back"
            )
            raise UnsupportedError(msg)
    write_json(path, values | {key: new_id(number) for key, number in ids.items()})


def _renumbered(settings: Any, new_id: NewId) -> dict[str, Any]:
    """Return tokenizer_config.json with the ids of added tokens counted anew."""
    if not isinstance(settings, dict) or not isinstance(settings.get(ADDED, {}), dict):
        msg = f"{SETTINGS}: not a JSON object with an object '{ADDED}'"
        raise ModelError(msg)
    added: Mapping[str, Any] = settings.get(ADDED, {})
    ids = {key: new_id(int(key)) if key.isdecimal() and len(key) < 11 else None for key in added}
    kept = {str(ids[key]): token for key, token in added.items() if ids[key] is not None}
    return settings | ({ADDED: kept} if added else {})
