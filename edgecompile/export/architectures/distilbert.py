"""DistilBERT: BERT without token types, under other names (Sanh et al. 2019)."""

import onnx_ir as ir

from edgecompile.export.blocks import Builder
from edgecompile.export.layer_widths import Keys, channels_of, layer_widths

PREFIX = "distilbert."
KEYS = Keys(
    hidden="dim",
    layers="n_layers",
    heads="n_heads",
    channels="hidden_dim",
    layer="transformer.layer.{}",
    attention="attention",
    ffn="ffn.lin1",
    pooler="pre_classifier",
)
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
        x = _layer(b, index, x, bias)
    return x


def _layer(b: Builder, index: int, x: ir.Value, bias: ir.Value) -> ir.Value:
    name, widths = KEYS.layer.format(index), layer_widths(b.config, KEYS, index)
    width, wide = b.config.integer("dim"), widths.channels
    inputs = tuple(
        b.linear(f"{name}.attention.{part}_lin", x, width, widths.attention)
        for part in ("q", "k", "v")
    )
    context = b.attention(f"{name}.attention", inputs, bias, widths)
    context = b.linear(f"{name}.attention.out_lin", context, widths.attention, width)
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
    inner = channels_of(b.config, KEYS.pooler, width)
    first = b.first_token(hidden)
    pooled = b.op("pre_classifier.act", "Relu", b.linear(KEYS.pooler, first, width, inner))
    return b.linear("classifier", pooled, inner, labels)


def classify_tokens(b: Builder, hidden: ir.Value, labels: int) -> ir.Value:
    """Classify every token: [B, S, labels]."""
    return b.linear("classifier", hidden, b.config.integer("dim"), labels)
