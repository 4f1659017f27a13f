"""Bytes by layer and format add up to the artifact's."""

from edgecompile.profile.source_layers import Layer
from edgecompile.profile.weigh_layers import REST, weigh_layers


def test_every_byte_has_a_row() -> None:
    """Linears and tables by the source's names, the largest first; what is left is one row."""
    found = {
        "linears": [
            {"name": "dense", "shape": [4, 8], "format": "int8 weight, int8 activation"},
            {"name": "head", "shape": [8, 2], "format": "float"},
            {"name": "narrow", "shape": [64, 2], "format": "int4 weight by blocks"},
        ],
        "embeddings": [{"name": "words.weight_int8", "shape": [100, 4], "format": "int8"}],
        "bytes_by_format": {"int8": 432, "float": 80, "int4": 64},
    }
    rows = weigh_layers(found, {"words": Layer("words", "Gather")})
    assert [(row["layer"], row["format"], row["bytes"]) for row in rows] == [
        ("words", "int8", 400),
        ("head", "float", 64),
        ("narrow", "int4", 64),
        ("dense", "int8", 32),
        (REST, "", 16),
    ]
