"""One line of a comparison."""

from collections.abc import Iterable
from dataclasses import dataclass

SAME, BETTER, WORSE, CHANGED, UNCLEAR = "same", "better", "worse", "changed", "unclear"


@dataclass(frozen=True, slots=True)
class Change:
    """What two bundles say of one thing, and what to think of it.

    `verdict` is "same", "better", "worse", "changed" (neither better nor worse), or "unclear": a
    difference that may be chance, or that two machines made. `why` says how that was decided.
    """

    section: str
    name: str
    old: str | float | None
    new: str | float | None
    unit: str
    verdict: str
    why: str = ""

    def line(self) -> str:
        """Return the change in one line."""
        unit = f" {self.unit}" if self.unit else ""
        why = f" ({self.why})" if self.why else ""
        return f"{self.section}, {self.name}: {shown(self.old)} -> {shown(self.new)}{unit}{why}"


def shown(value: str | float | None) -> str:
    """Write a value for people.

    >>> shown(22969516.0), shown(0.998513), shown(None)
    ('22,969,516', '0.9985', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def regressions(changes: Iterable[Change]) -> list[Change]:
    """Return what became worse."""
    return [change for change in changes if change.verdict == WORSE]
