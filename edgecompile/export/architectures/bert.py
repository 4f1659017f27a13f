"""BERT and MiniLM: post-norm encoder, learned positions, token types (Devlin et al. 2018)."""

import onnx_ir as ir

from edgecompile.export.blocks import Builder

PREFIX = "bert."


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
        x = _layer(b, f"encoder.layer.{index}", x, bias)
    return x


def _layer(b: Builder, name: str, x: ir.Value, bias: ir.Value) -> ir.Value:
    c = b.config
    hidden, wide = c.integer("hidden_size"), c.integer("intermediate_size")
    epsilon = c.number("layer_norm_eps", 1e-12)
    inputs = tuple(
        b.linear(f"{name}.attention.self.{part}", x, hidden, hidden)
        for part in ("query", "key", "value")
    )
    heads = c.integer("num_attention_heads")
    context = b.attention(f"{name}.attention", inputs, bias, heads, hidden)
    context = b.linear(f"{name}.attention.output.dense", context, hidden, hidden)
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
    first = b.first_token(hidden)
    pooled = b.op("pooler.act", "Tanh", b.linear("pooler.dense", first, width, width))
    return b.linear("classifier", pooled, width, labels)


def classify_tokens(b: Builder, hidden: ir.Value, labels: int) -> ir.Value:
    """Classify every token: [B, S, labels]."""
    return b.linear("classifier", hidden, b.config.integer("hidden_size"), labels)
