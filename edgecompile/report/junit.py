"""Findings as JUnit XML, which Jenkins, GitLab and most others read."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from edgecompile.report.finding import ERROR, WARNING, Finding

NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold (section 2.2)."""


def junit(name: str, findings: Sequence[Finding]) -> str:
    """Return a test suite: one test case a finding, a failure in each that is an error."""
    failures = sum(finding.level == ERROR for finding in findings)
    counts = {"tests": str(len(findings)), "failures": str(failures), "errors": "0"}
    root = ET.Element("testsuites", {"name": name, **counts})
    suite = ET.SubElement(root, "testsuite", {"name": name, "skipped": "0", **counts})
    for finding in findings:
        place = {"classname": _text(finding.subject), "name": _text(finding.check)}
        if finding.file:
            place |= {"file": _text(finding.file), "line": str(finding.line)}
        case = ET.SubElement(suite, "testcase", place)
        message = _text(finding.message)
        if finding.level == ERROR:
            failure = ET.SubElement(case, "failure", {"message": message, "type": "AssertionError"})
            failure.text = message
        else:
            kind = "system-err" if finding.level == WARNING else "system-out"
            ET.SubElement(case, kind).text = message
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _text(text: str) -> str:
    return NOT_XML.sub("?", text)
