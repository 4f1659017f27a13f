"""DistilBERT: BERT without token types, under other names (Sanh et al. 2019)."""

import onnx_ir as ir

from edgecompile.export.blocks import Builder

PREFIX = "distilbert."
EPSILON = 1e-12
"""Fixed in transformers' DistilBERT; config.json has no key for it."""


def encode(b: Builder) -> ir.Value:
    """Write the encoder; return its last hidden state [B, S, dim]."""
    c = b.config
    ids = b.input("input_ids", "batch", "sequence", dtype=ir.DataType.INT64)
    mask = b.input("attention_mask", "batch", "sequence", dtype=ir.DataType.INT64)
    width, rows = c.integer("dim"), c.integer("max_position_embeddings")
    words = b.embedding("embeddings.word_embeddings", ids, c.integer("vocab_size"), width)
    positions = b.first_positions("embeddings.position_embeddings", ids, rows, width)
    x = b.op("embeddings.sum", "Add", words, positions)
    x = b.layer_norm("embeddings.LayerNorm", x, width, EPSILON)
    bias = b.padding_bias(mask)
    for index in range(c.integer("n_layers")):
        x = _layer(b, f"transformer.layer.{index}", x, bias)
    return x


def _layer(b: Builder, name: str, x: ir.Value, bias: ir.Value) -> ir.Value:
    c = b.config
    width, wide = c.integer("dim"), c.integer("hidden_dim")
    inputs = tuple(
        b.linear(f"{name}.attention.{part}_lin", x, width, width) for part in ("q", "k", "v")
    )
    context = b.attention(f"{name}.attention", inputs, bias, c.integer("n_heads"), width)
    context = b.linear(f"{name}.attention.out_lin", context, width, width)
    x = b.op(f"{name}.attention.residual", "Add", context, x)
    x = b.layer_norm(f"{name}.sa_layer_norm", x, width, EPSILON)
    inner = b.linear(f"{name}.ffn.lin1", x, width, wide)
    inner = b.activation(f"{name}.ffn.act", inner)
    inner = b.linear(f"{name}.ffn.lin2", inner, wide, width)
    x = b.op(f"{name}.ffn.residual", "Add", inner, x)
    return b.layer_norm(f"{name}.output_layer_norm", x, width, EPSILON)


def classify_sequence(b: Builder, hidden: ir.Value, labels: int) -> ir.Value:
    """Classify the first token through dense and ReLU: [B, labels]."""
    width = b.config.integer("dim")
    first = b.first_token(hidden)
    inner = b.op("pre_classifier.act", "Relu", b.linear("pre_classifier", first, width, width))
    return b.linear("classifier", inner, width, labels)


def classify_tokens(b: Builder, hidden: ir.Value, labels: int) -> ir.Value:
    """Classify every token: [B, S, labels]."""
    return b.linear("classifier", hidden, b.config.integer("dim"), labels)
