"""Where a recipe sets a limit, so that CI can point at the line."""

import re
from pathlib import Path

TABLE = re.compile(r"\s*\[\s*budget\s*(?:\.\s*(?:\"([^\"]*)\"|'([^']*)'|([\w-]+))\s*)?\]")
OTHER_TABLE = re.compile(r"\s*\[")


def find_line(recipe: Path, target: str, key: str) -> int | None:
    """Return the line, from 1, of a limit in a recipe that was read before; None: not in it.

    A target's own table goes before its board's, and that before [budget].
    """
    found: dict[str, int] = {}
    table: str | None = None
    lines = recipe.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        head = TABLE.match(line)
        if head:
            table = next((name for name in head.groups() if name is not None), "")
        elif OTHER_TABLE.match(line):
            table = None
        elif table is not None and re.match(rf"\s*\"?{re.escape(key)}\"?\s*=", line):
            found[table] = number
    names = (target, target.partition(":")[0], "")
    return next((found[name] for name in names if name in found), None)
