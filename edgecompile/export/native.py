"""config.json + safetensors -> canonical graph, with numpy and onnx_ir alone.

A family is one file in `architectures/`, named after its model_type.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

import onnx_ir as ir

from edgecompile.export import architectures, pooling
from edgecompile.export.blocks import ACTIVATIONS, Builder
from edgecompile.export.checkpoint import Config, Weights, open_weights


def families() -> list[str]:
    """Return the model types that this exporter knows."""
    return sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules(architectures.__path__))


def why_not(config: Config) -> str | None:
    """Return why this exporter cannot write a checkpoint's graph, None if it can."""
    family = config.model_type
    if family not in families():
        what = " ".join(filter(None, (family, config.architecture)))
        return f"architecture '{what}' is not among those exported without torch ({_list()})"
    if head_of(config) is None:
        return f"head '{config.architecture}' is not exported without torch"
    positions = config.text("position_embedding_type", "absolute")
    if positions != "absolute":
        return f"position_embedding_type '{positions}' is not exported without torch"
    if config.values.get("is_decoder"):
        return "a decoder (is_decoder) is not exported without torch"
    key = "activation" if family == "distilbert" else "hidden_act"
    wanted = config.text(key, "gelu")
    if wanted not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        return f"{key} '{wanted}' is not exported without torch (known: {known})"
    return None


def _list() -> str:
    return ", ".join(families())


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
