"""Options and places for continuous integration: JUnit, GitHub, GitLab."""

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from edgecompile.report.finding import Finding

GITLAB_FILE = "gl-code-quality-report.json"
"""Where GitLab's documentation looks for it."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where findings go, besides the terminal."""

    junit: Path | None
    github: bool
    gitlab: Path | None

    def publish(self, name: str, findings: Sequence["Finding"]) -> None:
        """Write each file that is wanted; annotations go to standard error."""
        from edgecompile.files import write_whole
        from edgecompile.report.github import annotations, step_summary
        from edgecompile.report.gitlab import code_quality
        from edgecompile.report.junit import junit

        if self.junit is not None:
            write_whole(self.junit, junit(name, findings))
        if self.gitlab is not None:
            write_whole(self.gitlab, json.dumps(code_quality(findings), indent=2) + "\n")
        if not self.github:
            return
        for line in annotations(findings):
            click.echo(line, err=True)
        if os.environ.get("GITHUB_STEP_SUMMARY"):
            _append(Path(os.environ["GITHUB_STEP_SUMMARY"]), step_summary(name, findings))


def _append(path: Path, text: str) -> None:
    from edgecompile.errors import OutputError

    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        msg = f"{path}: cannot write the step summary there: {error.strerror}"
        raise OutputError(msg) from error


def ci_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --junit, --github and --gitlab to a command: it gets them as `outputs`."""

    @click.option(
        "--junit", type=click.Path(path_type=Path), metavar="FILE",
        help="File that gets the findings as JUnit XML.",
    )  # fmt: skip
    @click.option(
        "--github/--no-github", default=None,
        help="GitHub annotations and step summary; by default on GitHub Actions.",
    )  # fmt: skip
    @click.option(
        "--gitlab", type=click.Path(path_type=Path), metavar="FILE",
        help=f"File that gets GitLab's code-quality report; on GitLab by default {GITLAB_FILE}.",
    )  # fmt: skip
    @functools.wraps(command)
    def collected(
        *, junit: Path | None, github: bool | None, gitlab: Path | None, **others: Any
    ) -> Any:
        if github is None:
            github = os.environ.get("GITHUB_ACTIONS") == "true"
        if gitlab is None and os.environ.get("GITLAB_CI") == "true":
            gitlab = Path(GITLAB_FILE)
        return command(outputs=Outputs(junit, github, gitlab), **others)

    return collected
