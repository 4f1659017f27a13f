"""The table of energy and carbon."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

NAMES = {
    "energy": "an inference",
    "carbon_1000": "1,000 inferences",
    "carbon_device_year": "a device, a year",
}
MODELS = {"float": "float", "dynamic_int8": "dynamic int8", "artifact": "this bundle"}
UNITS = {
    "J": ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ")),
    "g CO2e": ((1e3, "kg CO2e"), (1.0, "g CO2e"), (1e-3, "mg CO2e"), (1e-6, "ug CO2e")),
}


def energy_table(numbers: Sequence[Mapping[str, Any]]) -> "Table | None":
    """Return one line an energy or carbon number of a profile; None where there is none."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    rows = [number for number in numbers if number["name"] in NAMES]
    if not rows:
        return None
    table = Table(box=box.ROUNDED)
    table.add_column("of")
    table.add_column("by")
    for name in ("tokens", "threads", "value", "from", "to"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("how", overflow="fold")
    for row in rows:
        figures = [show(row.get(key), row["unit"]) for key in ("value", "low", "high")]
        where = [str(row.get(key, "-")) for key in ("sequence", "threads")]
        by = MODELS.get(str(row.get("model")), str(row.get("model")))
        how = f"{row['kind']}: {row['how']}"
        table.add_row(*(escape(cell) for cell in (NAMES[row["name"]], by, *where, *figures, how)))
    return table


def show(value: float | None, unit: str) -> str:
    """Return three digits and a unit that suits them."""
    if value is None:
        return "-"
    steps = UNITS[unit]
    factor, name = next(((f, n) for f, n in steps if abs(value) >= f), steps[-1])
    return f"{value / factor:.3g} {name}"
