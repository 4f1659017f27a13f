"""The command `edgecompile diff`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecompile.cli.options import as_json
from edgecompile.cli.outputs import Outputs, ci_options
from edgecompile.errors import BudgetError

if TYPE_CHECKING:
    from edgecompile.compare.change import Change
    from edgecompile.report.finding import Finding

FAIL_ON = ("regression", "change")


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--fail-on", type=click.Choice(FAIL_ON),
    help="End with 3 if something is worse (regression), or not the same (change).",
)  # fmt: skip
@click.option(
    "--run/--no-run", default=True, show_default=True,
    help="Answer the golden vectors with both artifacts and compare sample by sample.",
)  # fmt: skip
@click.option(
    "--time", is_flag=True, help="Time both artifacts here, in turn: surer than their profiles.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Show what is the same, too.")
@ci_options
@as_json
def diff(  # noqa: PLR0917 - one parameter an option
    old: Path,
    new: Path,
    fail_on: str | None,
    run: bool,  # noqa: FBT001 - click passes flags by name
    time: bool,  # noqa: FBT001
    everything: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    outputs: Outputs,
) -> None:
    """Show what differs between two bundles, OLD and NEW, and what of it is for the worse.

    Operators, sizes, accuracy and latency, each with how sure it is; toolchain, recipe, inputs.
    """
    from edgecompile.bundles.read_bundle import read_bundle
    from edgecompile.compare.change import SAME, WORSE
    from edgecompile.compare.compare_bundles import compare_bundles

    changes = compare_bundles(read_bundle(old), read_bundle(new), run=run, time=time)
    _print_json(changes) if as_json else _print(changes, everything=everything)
    bad = [c for c in changes if c.verdict == WORSE or (fail_on == "change" and c.verdict != SAME)]
    outputs.publish("edgecompile diff", _findings(new, changes, bad if fail_on else []))
    if bad and fail_on:
        listed = "; ".join(change.line() for change in bad)
        msg = f"{new}: {len(bad)} {fail_on}{'s' * (len(bad) > 1)} since {old}: {listed}"
        raise BudgetError(msg, bad)


def _print_json(changes: "list[Change]") -> None:
    from dataclasses import asdict

    click.echo(json.dumps([asdict(change) for change in changes], indent=2))


def _print(changes: "list[Change]", *, everything: bool) -> None:
    """Print a table of what differs, or of everything, and how much was compared."""
    from rich.console import Console

    from edgecompile.compare.change import SAME, regressions
    from edgecompile.report.changes import changes_table

    differ = [change for change in changes if change.verdict != SAME]
    shown = changes if everything else differ
    if shown:
        Console(width=None if sys.stdout.isatty() else 160).print(changes_table(shown))
    worse = len(regressions(changes))
    click.echo(f"{len(changes)} things compared: {len(differ)} differ, {worse} for the worse")


def _findings(new: Path, changes: "list[Change]", bad: "list[Change]") -> "list[Finding]":
    """Return what CI shows: what fails as errors, other regressions as warnings."""
    from edgecompile.compare.change import SAME, WORSE
    from edgecompile.report.finding import ERROR, OK, WARNING, Finding, in_repository

    place, name = in_repository(new / "manifest.json"), new.resolve().name
    findings = []
    for change in changes:
        level = ERROR if change in bad else WARNING if change.verdict == WORSE else OK
        if level != OK or change.verdict != SAME:
            check, message = (
                f"{change.section}, {change.name}",
                f"{change.verdict}: {change.line()}",
            )
            findings.append(Finding(name, check, level, message, place))
    return findings or [Finding(name, "diff", OK, "nothing differs", place)]
