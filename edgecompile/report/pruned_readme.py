"""README.md of a model that was written back: what was cut, what it cost, how to load it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgecompile.inspect_widths import widths_of
from edgecompile.report.widths import lines_of


def readme(note: Mapping[str, Any]) -> str:
    """Return README.md for what edgecompile.json says."""
    return "\n".join(_lines(note))


def _lines(note: Mapping[str, Any]) -> Iterator[str]:
    found, sizes = note["accuracy"], note["weight_bytes"]
    yield f"# {note['model']}, pruned"
    yield ""
    yield (
        f"Written by edgecompile {note['edgecompile']}: {sizes['pruned'] / 1e6:.1f} MB of weights,"
        f" of {sizes['dense'] / 1e6:.1f} MB. The licence of {note['model']} holds."
    )
    yield (
        f"To the dense model: {found['metric']} {found['mean']:.4f}, worst {found['min']:.4f}, on"
        f" {found['samples']} samples."
    )
    yield ""
    yield from (f"    {line}" for line in lines_of(widths_of(note["groups"])))
    if note["vocabulary"]:
        yield f"    tokens: {note['vocabulary']['after']} of {note['vocabulary']['before']}"
    yield ""
    yield from _how_to_load(note)
    yield ""


def _how_to_load(note: Mapping[str, Any]) -> Sequence[str]:
    again = "`edgecompile build` takes this folder like any other model."
    if note["route"] != "native":
        return ["`edgecompile build` takes model.onnx; so does any runtime of opset 20."]
    if not note["transformers_loads_it"]:
        return [
            "transformers cannot load it: it knows one number of FFN channels, for all layers.",
            "Here Linears have their own: `edgecompile.channels` in config.json. Tensors have the",
            "family's names, and their own shapes. `pruned_heads` says how many heads a layer",
            f"lacks (not which). {again}",
        ]
    if any(
        row["kind"] == "heads" and row["kept"] < row["units"] for row in note["groups"].values()
    ):
        return [
            "transformers 4 loads it: `pruned_heads` in config.json says how many heads each layer",
            f"lacks (not which). transformers 5 has no such key. {again}",
        ]
    return [f"transformers loads it: `AutoModel.from_pretrained(...)`. {again}"]
