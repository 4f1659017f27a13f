"""How many bytes each layer's weights have, and in which number format."""

from collections.abc import Mapping
from math import prod
from typing import Any

from edgecompile.profile.source_layers import Layer, layer_of

REST = "norms, biases, scales"
BITS = {"int4": 4, "uint4": 4, "int8": 8, "uint8": 8, "float16": 16, "bfloat16": 16, "float": 32}
BITS |= {"float32": 32}


def weigh_layers(found: Mapping[str, Any], layers: Mapping[str, Layer]) -> list[dict[str, Any]]:
    """Return a row for each Linear and table of what `inspect` found, and one for all the rest."""
    rows: list[dict[str, Any]] = [
        {"layer": _source(row["name"], layers), "does": does, "format": kind, "bytes": size}
        for does, table in (("Linear", found["linears"]), ("table", found["embeddings"]))
        for row in table
        for kind, size in [_weigh(row)]
    ]
    rest = sum(found["bytes_by_format"].values()) - sum(row["bytes"] for row in rows)
    if rest > 0:
        rows.append({"layer": REST, "does": "", "format": "", "bytes": rest})
    return sorted(rows, key=lambda row: -row["bytes"])


def _source(name: str, layers: Mapping[str, Layer]) -> str:
    layer = layer_of(name, layers)
    return name if layer is None else layer.name


def _weigh(row: Mapping[str, Any]) -> tuple[str, int]:
    """Return a weight's format, the first word of what `inspect` says, and its bytes."""
    kind = str(row["format"]).split()[0]
    return kind, prod(row["shape"]) * BITS.get(kind, 32) // 8
