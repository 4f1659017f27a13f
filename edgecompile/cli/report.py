"""The command `edgecompile report`."""

from pathlib import Path

import click


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="The page; by default report.html in the one bundle or, of several, here.",
)  # fmt: skip
def report(bundles: tuple[Path, ...], output: Path | None) -> None:
    """Write a page of BUNDLES that a browser shows: one bundle, or several compared.

    The page is one file, without a script, and needs no network.
    """
    from edgecompile.bundles.report_bundles import report as run

    click.echo(f"report: {run(bundles, output)}")
