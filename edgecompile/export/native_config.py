"""Which checkpoints the native exporter writes: read from config.json, before anything heavy."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from edgecompile.export import architectures
from edgecompile.export.checkpoint import Config

ACTIVATIONS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gelu": ("Gelu", {}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "gelu_pytorch_tanh": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
}
"""The operator, and its attributes, of each activation that config.json may name."""


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
