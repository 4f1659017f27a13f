"""BERT and MiniLM: post-norm encoder, learned positions, token types (Devlin et al. 2018)."""

import onnx_ir as ir

from edgecompile.export.blocks import Builder
from edgecompile.export.layer_widths import Keys, channels_of, layer_widths

PREFIX = "bert."
KEYS = Keys(
    hidden="hidden_size",
    layers="num_hidden_layers",
    heads="num_attention_heads",
    channels="intermediate_size",
    layer="encoder.layer.{}",
    attention="attention",
    ffn="intermediate.dense",
    pooler="pooler.dense",
)


def encode(b: Builder) -> ir.Value:
    """Write the encoder; return its last hidden state [B, S, hidden]."""
    ids, types, mask = _inputs(b)
    c = b.config
    hidden, rows = c.integer("hidden_size"), c.integer("max_position_embeddings")
    words = b.embedding("embeddings.word_embeddings", ids, c.integer("vocab_size"), hidden)
    kinds = b.embedding(
        "embeddings.token_type_embeddings", types, c.integer("type_vocab_size"), hidden
    )
    positions = b.first_positions("embeddings.position_embeddings", ids, rows, hidden)
    return layers(b, embed(b, words, kinds, positions), mask)


def _inputs(b: Builder) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Declare input_ids, token_type_ids and attention_mask (in transformers' own order)."""
    ids = b.input("input_ids", "batch", "sequence", dtype=ir.DataType.INT64)
    mask = b.input("attention_mask", "batch", "sequence", dtype=ir.DataType.INT64)
    types = b.input("token_type_ids", "batch", "sequence", dtype=ir.DataType.INT64)
    return ids, types, mask


def embed(b: Builder, words: ir.Value, kinds: ir.Value, positions: ir.Value) -> ir.Value:
    """Sum the three embeddings and normalise."""
    total = b.op("embeddings.words_and_types", "Add", words, kinds)
    total = b.op("embeddings.sum", "Add", total, positions)
    epsilon = b.config.number("layer_norm_eps", 1e-12)
    return b.layer_norm("embeddings.LayerNorm", total, b.config.integer("hidden_size"), epsilon)


def layers(b: Builder, x: ir.Value, mask: ir.Value) -> ir.Value:
    """Write the stack of encoder layers."""
    bias = b.padding_bias(mask)
    for index in range(b.config.integer("num_hidden_layers")):
        x = _layer(b, index, x, bias)
    return x


def _layer(b: Builder, index: int, x: ir.Value, bias: ir.Value) -> ir.Value:
    name, widths = KEYS.layer.format(index), layer_widths(b.config, KEYS, index)
    hidden, wide = b.config.integer("hidden_size"), widths.channels
    epsilon = b.config.number("layer_norm_eps", 1e-12)
    inputs = tuple(
        b.linear(f"{name}.attention.self.{part}", x, hidden, widths.attention)
        for part in ("query", "key", "value")
    )
    context = b.attention(f"{name}.attention", inputs, bias, widths)
    context = b.linear(f"{name}.attention.output.dense", context, widths.attention, hidden)
    x = b.op(f"{name}.attention.residual", "Add", context, x)
    x = b.layer_norm(f"{name}.attention.output.LayerNorm", x, hidden, epsilon)
    inner = b.linear(f"{name}.intermediate.dense", x, hidden, wide)
    inner = b.activation(f"{name}.intermediate.act", inner)
    inner = b.linear(f"{name}.output.dense", inner, wide, hidden)
    x = b.op(f"{name}.output.residual", "Add", inner, x)
    return b.layer_norm(f"{name}.output.LayerNorm", x, hidden, epsilon)


def classify_sequence(b: Builder, hidden: ir.Value, labels: int) -> ir.Value:
    """Pool the first token (dense, tanh) and classify: [B, labels]."""
    width = b.config.integer("hidden_size")
    inner = channels_of(b.config, KEYS.pooler, width)
    first = b.first_token(hidden)
    pooled = b.op("pooler.act", "Tanh", b.linear(KEYS.pooler, first, width, inner))
    return b.linear("classifier", pooled, inner, labels)


def classify_tokens(b: Builder, hidden: ir.Value, labels: int) -> ir.Value:
    """Classify every token: [B, S, labels]."""
    return b.linear("classifier", hidden, b.config.integer("hidden_size"), labels)
