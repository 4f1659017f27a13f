"""The command `edgecompile check`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecompile.cli.options import as_json
from edgecompile.cli.outputs import Outputs, ci_options
from edgecompile.errors import BundleError, EdgeCompileError

if TYPE_CHECKING:
    from edgecompile.budgets.judge import Verdict
    from edgecompile.pipeline import Bundle
    from edgecompile.recipe import Recipe
    from edgecompile.report.finding import Finding

NAME = "edgecompile check"


def _limits(_ctx: click.Context, _param: click.Parameter, pairs: Sequence[str]) -> dict[str, float]:
    """Read KEY=NUMBER; the key is checked with the recipe's."""
    found = {}
    for pair in pairs:
        key, equals, number = pair.partition("=")
        try:
            found[key] = int(number) if number.isdecimal() else float(number)
        except ValueError:
            equals = ""
        if not equals:
            msg = f"'{pair}' must be KEY=NUMBER, for example size_mb=25"
            raise click.BadParameter(msg)
    return found


@click.command()
@click.argument(
    "bundles", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--recipe", "recipe_file", type=click.Path(path_type=Path),
    help="Judge by its [budget], not by that of the recipe that a bundle was built with.",
)  # fmt: skip
@click.option(
    "-b", "--budget", "limits", metavar="KEY=NUMBER", multiple=True, callback=_limits,
    help="A limit that goes before the recipe's, such as size_mb=25; may be given several times.",
)  # fmt: skip
@click.option(
    "--run", is_flag=True,
    help="Answer the golden vectors again, here, and compare with what the build saw.",
)  # fmt: skip
@ci_options
@as_json
def check(  # noqa: PLR0917 - one parameter an option
    bundles: tuple[Path, ...],
    recipe_file: Path | None,
    limits: dict[str, float],
    run: bool,  # noqa: FBT001 - click passes flags by name
    as_json: bool,  # noqa: FBT001
    outputs: Outputs,
) -> None:
    """Verify each BUNDLE's files and hold it against its budget: 3 if a limit is passed.

    One line a limit: the number, the limit, and how the number was got. 1 if a file was changed.
    A .zip of `edgecompile pack` is a BUNDLE too. Another file stands for the bundle that it lies
    in, and is passed over where that is none (pre-commit).
    """
    from dataclasses import asdict

    from edgecompile import recipe as recipes
    from edgecompile.bundles.check_bundles import Wishes, check_bundle, demand, findings_of
    from edgecompile.report.finding import ERROR, OK, Finding, in_repository

    recipe = recipes.read(recipe_file) if recipe_file else None
    wishes = Wishes(recipe, recipe_file, limits, run)
    verdicts: list[Verdict] = []
    findings: list[Finding] = []
    broken: BundleError | None = None
    for folder in _folders(bundles):
        place = in_repository(folder if folder.is_file() else folder / "manifest.json")
        try:
            judged = check_bundle(folder, wishes)
        except BundleError as error:
            findings.append(Finding(folder.name, "files", ERROR, str(error), place))
            if broken is not None:
                click.echo(f"error: {broken}", err=True)
            broken = error
            continue
        whole = "every file is the one that was built" + ("" if judged else "; it has no budget")
        findings.append(Finding(folder.resolve().name, "files", OK, whole, place))
        findings += findings_of(folder, judged, recipe_file)
        verdicts += judged
    if as_json:
        click.echo(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    else:
        print_findings(findings)
    outputs.publish(NAME, findings)
    if broken is not None:
        raise broken
    demand(verdicts)


def _folders(places: Sequence[Path]) -> list[Path]:
    """Return each bundle once: a folder, a .zip, or where another file lies, if that is one."""
    found = []
    for place in places:
        if not place.is_file() or place.suffix == ".zip":
            found.append(place)
        elif (place.parent / "manifest.json").is_file():
            found.append(place.parent)
    return list(dict.fromkeys(found))


def print_findings(findings: "Sequence[Finding]") -> None:
    """Print a line a finding: ok or FAIL, of which bundle, what."""
    from edgecompile.report.finding import printable

    words = {"ok": ("ok  ", "green"), "warning": ("note", "yellow"), "error": ("FAIL", "red")}
    for finding in findings:
        word, colour = words[finding.level]
        mark = click.style(word, fg=colour, bold=finding.level == "error")
        click.echo(f"{mark}  {printable(finding.subject)}  {printable(finding.message)}")


def judge_built(
    bundles: "Sequence[Bundle]", recipe: "Recipe", recipe_file: Path | None
) -> "tuple[list[Verdict], list[Finding]]":
    """Hold what a build has just written against the recipe's budget."""
    from edgecompile.bundles.check_bundles import Wishes, findings_of, judge_bundle
    from edgecompile.bundles.read_bundle import ReadBundle

    verdicts: list[Verdict] = []
    findings: list[Finding] = []
    for built in bundles:
        bundle = ReadBundle(built.folder, built.manifest, built.profile)
        judged = judge_bundle(bundle, Wishes(recipe))
        verdicts += judged
        findings += findings_of(built.folder, judged, recipe_file)
    return verdicts, findings


def finish_build(
    verdicts: "list[Verdict]",
    findings: "list[Finding]",
    failed: EdgeCompileError | None,
    outputs: Outputs,
) -> None:
    """Tell CI of a build; raise what failed: the gate before the budgets."""
    from edgecompile.bundles.check_bundles import demand
    from edgecompile.report.finding import ERROR, Finding

    if failed is not None:
        findings = [*findings, Finding("edgecompile build", "gate", ERROR, str(failed))]
    outputs.publish("edgecompile build", findings)
    if failed is not None:
        raise failed
    demand(verdicts)
