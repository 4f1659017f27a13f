"""Hold a bundle against its budget: one verdict a limit."""

from collections.abc import Iterable
from dataclasses import dataclass

from edgecompile.budgets.find_number import Missing, find_number
from edgecompile.budgets.table import FLOORS, Budget
from edgecompile.bundles.read_bundle import ReadBundle

DIGITS = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one limit holds, and by which number; `value` is None where there is none.

    `judged` is what was held against the limit: `value`, or the worse end of its band. `how` says
    how the number was got or, without one, why not and what would give it.
    """

    bundle: str
    target: str
    check: str
    holds: bool
    limit: float
    value: float | None
    judged: float | None
    kind: str | None
    how: str

    def line(self) -> str:
        """Return the verdict as a person reads it."""
        if self.value is None or self.judged is None:
            return f"{self.check}: there is no number for it: {self.how}"
        shown, limit = apart(self.judged, self.limit)
        floor = self.check in FLOORS or self.check == ANSWERS
        sign = (">=" if self.holds else "<") if floor else ("<=" if self.holds else ">")
        band = "" if self.judged == self.value else f", at worst; {self.value:.{DIGITS}g} expected"
        return f"{self.check} {shown} {sign} {limit} ({self.kind}{band}: {self.how})"


ANSWERS = "answers"
"""The check of the golden vectors, beside the budget's."""


def judge(bundle: ReadBundle, budget: Budget) -> list[Verdict]:
    """Return a verdict for each limit that the budget sets."""
    return [_judge(bundle, budget, key, limit) for key, limit in budget.limits()]


def _judge(bundle: ReadBundle, budget: Budget, key: str, limit: float) -> Verdict:
    who = (bundle.name, str(bundle.manifest["target"]), key)
    found = find_number(bundle, key, budget)
    if isinstance(found, Missing):
        why = f"{found.reason}; {found.next_step}"
        return Verdict(*who, holds=False, limit=limit, value=None, judged=None, kind=None, how=why)
    judged = found.value if budget.pessimistic is False else found.bound
    holds = judged >= limit if key in FLOORS else judged <= limit
    return Verdict(
        *who, holds=holds, limit=limit, value=found.value, judged=judged, kind=found.kind,
        how=found.how,
    )  # fmt: skip


def apart(value: float, limit: float) -> tuple[str, str]:
    """Write two numbers with as many digits as it takes to tell them apart.

    >>> apart(25.00001, 25)
    ('25.00001', '25')
    """
    for digits in range(DIGITS, 17):
        pair = (f"{value:.{digits}g}", f"{limit:.{digits}g}")
        if value == limit or pair[0] != pair[1]:
            break
    return pair


def failed(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return those that do not hold."""
    return [verdict for verdict in verdicts if not verdict.holds]
