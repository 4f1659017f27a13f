"""What a check has found, as any continuous-integration service can show it."""

import os
from dataclasses import dataclass
from pathlib import Path

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of one bundle: `level` is OK, WARNING or ERROR, `message` one line.

    `file` and `line` are where a person would look: the recipe's limit, or the manifest.
    """

    subject: str
    check: str
    level: str
    message: str
    file: str = ""
    line: int = 1


def printable(text: str) -> str:
    r"""Return text that moves no cursor: a bundle may say anything.

    >>> printable("red \x1b[31m")
    'red ?[31m'
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def in_repository(path: Path) -> str:
    """Return a path as CI services want it: relative to the checkout, with forward slashes."""
    given = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or "."
    whole, root = path.resolve(), Path(given).resolve()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else path.as_posix()
