"""The command `edgecompile rebuild`."""

from pathlib import Path

import click

from edgecompile.cli.options import as_json, print_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--model", type=click.Path(path_type=Path),
    help="Where the float model lies; by default where the recipe says.",
)  # fmt: skip
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), show_default="here",
    help="What the recipe's paths are relative to.",
)  # fmt: skip
@as_json
def rebuild(
    bundle: Path,
    model: Path | None,
    folder: Path,
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """Build BUNDLE, or a manifest.json, again from what it records: 3 if a file is not the same.

    Recipe, target and the hashes of all inputs come from the manifest. Files that hold measured
    times (profile.json, report.html) are not compared. Nothing is written.
    """
    from dataclasses import asdict

    from edgecompile.bundles.rebuild import demand_same
    from edgecompile.bundles.rebuild import rebuild as run
    from edgecompile.cli.progress import progress
    from edgecompile.pipeline import Trace

    with progress() as say:
        rebuilt = run(bundle, model, folder, Trace(say))
    if as_json:
        print_json(asdict(rebuilt))
    else:
        for name, was, now in rebuilt.tools:
            click.echo(f"note     {name} was {was}, is {now}")
        for compared in rebuilt.files:
            colour = "green" if compared.verdict == "same" else "red"
            click.echo(f"{click.style(f'{compared.verdict:<7}', fg=colour)}  {compared.file}")
    demand_same(rebuilt)
