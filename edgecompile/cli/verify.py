"""The command `edgecompile verify`."""

import json
from pathlib import Path

import click

from edgecompile.cli.check import print_findings
from edgecompile.cli.options import as_json
from edgecompile.cli.outputs import Outputs, ci_options
from edgecompile.errors import BundleError


@click.command()
@click.argument(
    "bundles", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "-k", "--key", metavar="KEY",
    help="The signer's minisign public key, or its file: every BUNDLE must be signed with it.",
)  # fmt: skip
@ci_options
@as_json
def verify(
    bundles: tuple[Path, ...],
    key: str | None,
    as_json: bool,  # noqa: FBT001 - click passes flags by name
    outputs: Outputs,
) -> None:
    """Verify each BUNDLE, a folder or a .zip, before its smoke.py is trusted: 1 if it is not whole.

    No file may be missing, changed or added, and the signature, where there is one or --key asks
    for it, must be that of KEY.
    """
    from dataclasses import asdict

    from edgecompile.bundles.verify_bundle import Verified, verify_bundle
    from edgecompile.report.finding import ERROR, OK, Finding, in_repository

    findings: list[Finding] = []
    whole: list[Verified] = []
    broken: BundleError | None = None
    for place in bundles:
        shown = in_repository(place if place.is_file() else place / "manifest.json")
        try:
            verified = verify_bundle(place, key)
        except BundleError as error:
            findings.append(Finding(place.resolve().name, "verify", ERROR, str(error), shown))
            if broken is not None:
                click.echo(f"error: {broken}", err=True)
            broken = error
            continue
        whole.append(verified)
        findings.append(Finding(verified.name, "verify", OK, verified.line(), shown))
    if as_json:
        click.echo(json.dumps([asdict(verified) for verified in whole], indent=2))
    else:
        print_findings(findings)
    outputs.publish("edgecompile verify", findings)
    if broken is not None:
        raise broken
