"""What CI services are given."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from edgecompile.report.finding import ERROR, OK, WARNING, Finding, in_repository
from edgecompile.report.github import annotations, step_summary
from edgecompile.report.gitlab import code_quality
from edgecompile.report.junit import junit

HOSTILE = "50 % <b>|,: \x00\x1b[31m\nnext `x`"
FINDINGS = [
    Finding("mini-x86-64", "size_mb", OK, "size_mb 1 <= 2", "edgecompile.toml", 4),
    Finding("mini-x86-64", "latency_ms", ERROR, HOSTILE, "a,b:c.toml", 7),
    Finding("mini-x86-64", "latency", WARNING, "slower"),
]


def test_github_gets_one_command_for_each_error_and_warning() -> None:
    """What would end a command or a property early is escaped, as GitHub's runner undoes it."""
    lines = list(annotations(FINDINGS))
    assert lines[0].startswith(
        "::error file=a%2Cb%3Ac.toml,line=7,title=mini-x86-64%3A latency_ms::50 %25 <b>|,: "
    )
    assert lines[0].endswith("%0Anext `x`")
    assert lines[1] == "::warning title=mini-x86-64%3A latency::slower"
    assert not any("\n" in line for line in lines)


def test_the_step_summary_is_one_table_errors_first() -> None:
    """No finding can leave its cell."""
    text = step_summary("edgecompile check", FINDINGS)
    assert "### edgecompile check: 1 of 3 failed" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
    assert [row[2] for row in rows] == ["❌", "⚠", "✅"]
    assert r"\<b\>\|" in rows[0]
    assert rows[0].replace(r"\|", "").count("|") == 5


def test_junit_is_xml_whatever_a_finding_says() -> None:
    """One case a finding, one failure an error; XML cannot hold control characters."""
    suite = ET.fromstring(junit("edgecompile check", FINDINGS))[0]  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    failures = {case.get("name"): case.find("failure") for case in suite}
    assert [name for name, failure in failures.items() if failure is not None] == ["latency_ms"]
    assert failures["latency_ms"].text == "50 % <b>|,: ??[31m\nnext `x`"


def test_gitlab_knows_an_issue_again() -> None:
    """Its fingerprint stays when the figures change, and differs from any other's."""
    first, second = code_quality(FINDINGS)
    assert (first["severity"], second["severity"]) == ("critical", "minor")
    assert first["location"] == {"path": "a,b:c.toml", "lines": {"begin": 7}}
    again = code_quality([Finding("mini-x86-64", "latency_ms", ERROR, "other figures")])
    assert again[0]["fingerprint"] == first["fingerprint"] != second["fingerprint"]


def test_paths_are_relative_to_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the command runs; what lies outside stays as it was given."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert in_repository(tmp_path / "dist" / "manifest.json") == "dist/manifest.json"
    assert in_repository(Path("/elsewhere/x")) == "/elsewhere/x"
