"""The table of `edgecompile diff`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.compare.change import BETTER, CHANGED, UNCLEAR, WORSE, Change, shown
from edgecompile.report.finding import printable

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {WORSE: "bold red", BETTER: "green", CHANGED: "cyan", UNCLEAR: "yellow"}


def changes_table(changes: Sequence[Change], compared: int) -> "Table":
    """Return one line a change, what is worse first; `compared` counts those left out too."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    worse = sum(change.verdict == WORSE for change in changes)
    caption = f"{compared} things compared, {len(changes)} shown, {worse} worse"
    table = Table(box=box.ROUNDED, caption=caption, caption_justify="left")
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
