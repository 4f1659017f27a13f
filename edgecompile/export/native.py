"""config.json + safetensors -> canonical graph, with numpy and onnx_ir alone.

A family is one file in `architectures/`, named after its model_type.
"""

import importlib
from pathlib import Path
from types import ModuleType

import onnx_ir as ir

from edgecompile.export import architectures, pooling
from edgecompile.export.blocks import Builder
from edgecompile.export.checkpoint import Config, Weights, open_weights
from edgecompile.export.native_config import families, head_of, why_not

__all__ = ["export", "families", "family_of", "head_of", "open_named", "why_not"]


def export(folder: Path, config: Config) -> ir.Model:
    """Write the graph of a checkpoint directory."""
    family = family_of(config)
    b = Builder(config, open_named(folder, config))
    hidden = family.encode(b)
    b.weights.check_layers_taken()
    head = head_of(config)
    if head == "none":
        width = config.integer("dim" if config.model_type == "distilbert" else "hidden_size")
        model = b.model(hidden, "last_hidden_state", "batch", "sequence", width)
        if (chain := pooling.read(folder)) is not None:
            pooling.append(b.graph, hidden, chain)
        return model
    labels = _labels(b)
    if head == "sequence":
        return b.model(family.classify_sequence(b, hidden, labels), "logits", "batch", labels)
    logits = family.classify_tokens(b, hidden, labels)
    return b.model(logits, "logits", "batch", "sequence", labels)


def family_of(config: Config) -> ModuleType:
    """Return the module that writes a family's graph."""
    name = config.model_type.replace("-", "_")
    return importlib.import_module(f"{architectures.__name__}.{name}")


def open_named(folder: Path, config: Config) -> Weights:
    """Open a checkpoint whose encoder may stand under its family's prefix."""
    weights, prefix = open_weights(folder, config), family_of(config).PREFIX
    if any(name.startswith(prefix) for name in weights.files):
        weights.prefix = prefix
    return weights


def _labels(b: Builder) -> int:
    """Count the labels as transformers does: id2label, else num_labels, else 2."""
    names = b.config.values.get("id2label")
    if isinstance(names, dict) and names:
        return len(names)
    return b.config.integer("num_labels") if "num_labels" in b.config.values else 2
