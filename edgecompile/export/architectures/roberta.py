"""RoBERTa: BERT whose positions count from the padding id (Liu et al. 2019)."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgecompile.errors import ModelError
from edgecompile.export.architectures import bert
from edgecompile.export.blocks import Builder
from edgecompile.export.layer_widths import channels_of

PREFIX = "roberta."

KEYS = replace(bert.KEYS, pooler="classifier.dense")
classify_tokens = bert.classify_tokens


def encode(b: Builder) -> ir.Value:
    """Write the encoder; return its last hidden state [B, S, hidden]."""
    c = b.config
    ids = b.input("input_ids", "batch", "sequence", dtype=ir.DataType.INT64)
    mask = b.input("attention_mask", "batch", "sequence", dtype=ir.DataType.INT64)
    hidden, rows = c.integer("hidden_size"), c.integer("max_position_embeddings")
    words = b.embedding("embeddings.word_embeddings", ids, c.integer("vocab_size"), hidden)
    kinds = b.initializer(
        "embeddings.token_type_embeddings.weight",
        b.weights.take(
            "embeddings.token_type_embeddings.weight", c.integer("type_vocab_size"), hidden
        )[0],
    )
    positions = b.embedding("embeddings.position_embeddings", _positions(b, ids), rows, hidden)
    return bert.layers(b, bert.embed(b, words, kinds, positions), mask)


def _positions(b: Builder, ids: ir.Value) -> ir.Value:
    """Count the tokens that are not padding, from pad_token_id + 1; padding keeps its id."""
    number = b.config.values.get("pad_token_id", 1)
    rows = b.config.integer("max_position_embeddings")
    if not isinstance(number, int) or not 0 <= number < rows - 1:
        msg = f"{b.config.path}: key 'pad_token_id' must lie between 0 and {rows - 2}"
        raise ModelError(msg)
    pad = b.initializer("positions.pad", np.array(number, np.int64))
    valid = b.op("positions.valid", "Not", b.op("positions.is_pad", "Equal", ids, pad))
    count = b.op("positions.one", "Cast", valid, to=ir.DataType.INT64)
    axis = b.initializer("positions.axis", np.array(1, np.int64))
    index = b.op("positions.cumsum", "CumSum", count, axis)
    index = b.op("positions.index", "Mul", index, count)
    return b.op("positions", "Add", index, pad)


def classify_sequence(b: Builder, hidden: ir.Value, labels: int) -> ir.Value:
    """Classify the first token through dense and tanh: [B, labels]."""
    width = b.config.integer("hidden_size")
    inner = channels_of(b.config, KEYS.pooler, width)
    first = b.first_token(hidden)
    pooled = b.op("classifier.act", "Tanh", b.linear(KEYS.pooler, first, width, inner))
    return b.linear("classifier.out_proj", pooled, inner, labels)
