"""Widths in few lines."""

from edgecompile.inspect_widths import widths_of
from edgecompile.report.widths import lines_of, table_of


def group(kind: str, units: int, kept: int) -> dict[str, object]:
    """Return a group as records hold it."""
    return {"kind": kind, "units": units, "kept": kept}


def test_layers_that_are_alike_are_one_line() -> None:
    """Only those that follow each other; what was not cut is one number."""
    groups = {f"encoder.layer.{n}.attention": group("heads", 12, 9 + (n > 1)) for n in range(4)}
    groups |= {f"encoder.layer.{n}.ffn": group("channels", 64, 64) for n in range(4)}
    groups["pooler.dense"] = group("channels", 8, 5)
    assert list(lines_of(widths_of(groups))) == [
        "encoder.layer.0 to 1: 9 of 12 heads, 64 FFN channels",
        "encoder.layer.2 to 3: 10 of 12 heads, 64 FFN channels",
        "pooler.dense: - heads, 5 of 8 FFN channels",
    ]


def test_a_layer_may_have_two_attentions() -> None:
    """Both are shown."""
    groups = {f"d/layers.0/{name}": group("heads", 4, 3) for name in ("self", "cross")}
    assert list(table_of(widths_of(groups))) == [("d/layers.0", "3 of 4, 3 of 4", "-")]
