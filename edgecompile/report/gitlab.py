"""Findings as GitLab's code-quality report, which a merge request shows.

https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from edgecompile.report.finding import ERROR, OK, Finding


def code_quality(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """Return an issue for each error and warning.

    The fingerprint is of the check, not of its figures: GitLab then sees that it is the same one.
    """
    return [
        {
            "description": f"{finding.subject}: {finding.message}",
            "check_name": f"edgecompile {finding.check}",
            "fingerprint": _fingerprint(finding),
            "severity": "critical" if finding.level == ERROR else "minor",
            "location": {"path": finding.file or "edgecompile", "lines": {"begin": finding.line}},
        }
        for finding in findings
        if finding.level != OK
    ]


def _fingerprint(finding: Finding) -> str:
    text = f"{finding.subject}\n{finding.check}\n{finding.level}"
    return hashlib.sha256(text.encode()).hexdigest()
