"""XLM-RoBERTa: RoBERTa's graph under its own name (Conneau et al. 2019)."""

from edgecompile.export.architectures.roberta import (
    KEYS,
    PREFIX,
    classify_sequence,
    classify_tokens,
    encode,
)

__all__ = ["KEYS", "PREFIX", "classify_sequence", "classify_tokens", "encode"]
