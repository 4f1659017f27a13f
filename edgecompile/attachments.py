"""What an artifact may carry besides the graph, if its format has a place: words and labels.

They travel in the lowered model's metadata, as JSON lists; a writer that has no place leaves them.
"""

import json
from collections.abc import Mapping
from typing import Any

VOCABULARY, LABELS = "edgecompile.vocabulary", "edgecompile.labels"
WORD_PIECE = "WordPiece"


def attachments(tokenizer: bytes, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the words of a WordPiece tokenizer.json by id, and a config.json's labels by index.

    Other tokenizers are more than their words, and stay files of the bundle; so do ids with gaps.
    """
    found = {VOCABULARY: _words(tokenizer), LABELS: _labels(config)}
    return {key: json.dumps(lines) for key, lines in found.items() if lines}


def _words(tokenizer: bytes) -> list[str]:
    if not tokenizer:
        return []
    model = json.loads(tokenizer)["model"]
    if model.get("type") != WORD_PIECE:
        return []
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    ids = [model["vocab"][word] for word in words]
    plain = ids == list(range(len(ids))) and not any("\n" in word for word in words)
    return words if plain else []


def _labels(config: Mapping[str, Any]) -> list[str]:
    names = config.get("id2label")
    if not isinstance(names, dict):
        return []
    return [" ".join(str(names[key]).split()) for key in sorted(names, key=int)]
