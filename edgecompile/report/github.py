"""Findings for GitHub Actions: workflow commands, which become annotations, and a step summary.

https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Iterator, Sequence

from edgecompile.report.finding import ERROR, OK, WARNING, Finding

SHOWN = {ERROR: "❌", WARNING: "⚠️", OK: "✅"}
MOST_ROWS = 200
"""A step's summary holds 1 MB."""


def annotations(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a workflow command for each error and warning."""
    for finding in findings:
        if finding.level == OK:
            continue
        place = {"file": finding.file, "line": str(finding.line)} if finding.file else {}
        title = f"{finding.subject}: {finding.check}"
        properties = ",".join(f"{k}={_property(v)}" for k, v in {**place, "title": title}.items())
        yield f"::{finding.level} {properties}::{_data(finding.message)}"


def step_summary(name: str, findings: Sequence[Finding]) -> str:
    """Return a table in Markdown, errors first."""
    wrong = sum(finding.level == ERROR for finding in findings)
    verdict = f"{wrong} of {len(findings)} failed" if wrong else f"none of {len(findings)} failed"
    ordered = sorted(findings, key=lambda finding: list(SHOWN).index(finding.level))
    rows = [
        f"| {SHOWN[f.level]} | {_cell(f.subject)} | {_cell(f.check)} | {_cell(f.message)} |"
        for f in ordered[:MOST_ROWS]
    ]
    left = [f"\n{len(ordered) - MOST_ROWS} more are left out."] if ordered[MOST_ROWS:] else []
    head = ["", f"### {name}: {verdict}", "", "| | bundle | check | found |", "|---|---|---|---|"]
    return "\n".join([*head, *rows, *left, ""])


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _cell(text: str) -> str:
    """Return text that stays text in a cell of Markdown."""
    for mark in "\\`*_{}[]<>#|~":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
