"""What was counted and modelled for a board, for the terminal; each line says how it was got."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Number = Mapping[str, Any]
MILLION = {
    "instructions": "instructions",
    "dot_instructions": "  dot products",
    "int_mac_instructions": "  int multiply-accumulates",
    "float_fma_instructions": "  float multiply-accumulates",
    "load_instructions": "  loads",
    "store_instructions": "  stores",
}


def counts_table(numbers: Sequence[Number]) -> "Table | None":
    """Return one line a number: what, how much, how it was got; None where nothing was counted."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    rows = list(rows_of(numbers))
    if not rows:
        return None
    caption = "\n".join(dict.fromkeys(str(n["how"]) for n in numbers if n["value"] is not None))
    table = Table(box=box.ROUNDED, caption=escape(caption), caption_justify="left")
    table.add_column("one inference", no_wrap=True)
    table.add_column("", justify="right")
    table.add_column("how")
    for row in rows:
        table.add_row(*row)
    return table


def rows_of(numbers: Sequence[Number]) -> Iterator[tuple[str, str, str]]:
    """Yield what, how much, kind: of a profile's numbers for the artifact, last float's."""
    before = [number for number in numbers if number.get("model") == "float"]
    numbers = [number for number in numbers if number.get("model") != "float"]
    found = {number["name"]: number for number in numbers if number["name"] != "latency"}
    for name, shown in MILLION.items():
        if found.get(name, {}).get("value"):
            yield shown, f"{found[name]['value'] / 1e6:.1f} M", str(found[name]["kind"])
    if "loaded_bytes" in found:
        moved = " + ".join(
            f"{found[name]['value'] / 1e6:.0f}" for name in ("loaded_bytes", "stored_bytes")
        )
        yield "loaded + stored", f"{moved} MB", str(found["loaded_bytes"]["kind"])
    macs = found.get("int8_macs", {})
    if macs.get("value") is not None:
        shapes = macs.get("by_shapes")
        same = "as by shapes" if shapes == macs["value"] else f"{shapes:,} by shapes"
        kind = f"{macs['kind']}, {same}" if shapes is not None else str(macs["kind"])
        yield "int8 multiply-accumulates", f"{macs['value']:,}", kind
    for number in numbers:
        if number["name"] == "latency" and number["kind"] == "modelled":
            yield _time(number)
    for number in before:
        if number["name"] == "instructions":
            yield "float: instructions", f"{number['value'] / 1e6:.1f} M", str(number["kind"])
        elif number["name"] == "latency" and number["kind"] == "modelled":
            what, much, kind = _time(number)
            yield f"float: {what}", much, kind


def _time(number: Number) -> tuple[str, str, str]:
    parts = [] if number["value"] is None else [f"{number['value']:.1f} ms"]
    if "low" in number:  # a vendor's compiler gives no band
        band = f"{number['low']:.0f} to {number['high']:.0f} ms"
        parts.append(f"({band})" if parts else band)
    threads = f"{number['threads']} thread{'s' * (number['threads'] > 1)}"
    return f"{number['sequence']} tokens, {threads}", " ".join(parts), "modelled"
