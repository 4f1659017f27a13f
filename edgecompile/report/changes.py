"""The table of `edgecompile diff`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.compare.change import BETTER, CHANGED, UNCLEAR, WORSE, Change, shown
from edgecompile.report.finding import printable

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {WORSE: "bold red", BETTER: "green", CHANGED: "cyan", UNCLEAR: "yellow"}


def changes_table(changes: Sequence[Change]) -> "Table":
    """Return one line a change, what is worse first."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.ROUNDED)
    table.add_column("", no_wrap=True)
    table.add_column("what", overflow="fold")
    table.add_column("old", justify="right", overflow="fold")
    table.add_column("new", justify="right", overflow="fold")
    table.add_column("how sure", overflow="fold")
    for change in sorted(changes, key=lambda c: c.verdict != WORSE):
        colour = COLOURS.get(change.verdict, "dim")
        unit = f" {change.unit}" if change.unit else ""
        cells = (
            f"[{colour}]{change.verdict}[/]",
            f"[dim]{escape(change.section)}[/] {escape(printable(change.name))}",
            *(
                escape(printable(text))
                for text in (shown(change.old) + unit, shown(change.new) + unit, change.why)
            ),
        )
        table.add_row(*cells)
    return table
