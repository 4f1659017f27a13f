"""config.json + safetensors -> canonical graph, with numpy and onnx_ir alone.

A family is one file in `architectures/`, named after its model_type.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import onnx_ir as ir

from edgecompile.export import architectures, pooling
from edgecompile.export.blocks import Builder
from edgecompile.export.checkpoint import Config, open_weights


def families() -> list[str]:
    """Return the model types that this exporter knows."""
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(architectures.__path__))


def knows(config: Config) -> bool:
    """Say whether this exporter can write the checkpoint's graph."""
    plain = config.text("position_embedding_type", "absolute") == "absolute"
    plain = plain and not config.values.get("is_decoder")
    return config.model_type in families() and plain and head_of(config) is not None


def head_of(config: Config) -> str | None:
    """Return "none", "sequence" or "token"; None for a head that is not known here."""
    name = config.architecture
    if name.endswith("ForSequenceClassification"):
        return "sequence"
    if name.endswith("ForTokenClassification"):
        return "token"
    bare = name.endswith("Model") and not name.endswith("HeadModel")
    return "none" if bare or not name else None


def export(folder: Path, config: Config) -> ir.Model:
    """Write the graph of a checkpoint directory."""
    family = _family(config.model_type)
    weights = open_weights(folder, config)
    if any(name.startswith(family.PREFIX) for name in weights.files):
        weights.prefix = family.PREFIX
    b = Builder(config, weights)
    hidden = family.encode(b)
    weights.check_layers_taken()
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


def _family(model_type: str) -> ModuleType:
    return importlib.import_module(f"{architectures.__name__}.{model_type.replace('-', '_')}")


def _labels(b: Builder) -> int:
    """Count the labels as transformers does: id2label, else num_labels, else 2."""
    names = b.config.values.get("id2label")
    if isinstance(names, dict) and names:
        return len(names)
    return int(b.config.number("num_labels", 2))
