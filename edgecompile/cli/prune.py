"""The command `edgecompile prune`."""

import json
from pathlib import Path

import click

from edgecompile.cli.options import as_json


@click.command()
@click.argument("recipe_file", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True,
    help="Folder to write; an earlier one of this command is replaced.",
)  # fmt: skip
@as_json
def prune(recipe_file: Path, output: Path, as_json: bool) -> None:  # noqa: FBT001 - click
    """Write the pruned float model of RECIPE, or its trained student, as a model again.

    BERT's kin become a Hugging Face directory, all others an .onnx file.
    """
    from edgecompile import recipe as recipes
    from edgecompile.cli.progress import progress
    from edgecompile.narrow.write_back import write_back
    from edgecompile.trace import Trace

    recipe = recipes.read(recipe_file)
    with progress() as say:
        written = write_back(recipe, output, Trace(say))
    if as_json:
        rows = [{"folder": str(each.folder), **each.note} for each in written]
        click.echo(json.dumps(rows, indent=2))
        return
    for each in written:
        found, sizes = each.note["accuracy"], each.note["weight_bytes"]
        click.echo(
            f"pruned: {each.folder}   {sizes['pruned'] / 1e6:.1f} MB of"
            f" {sizes['dense'] / 1e6:.1f}, {found['metric']} to dense {found['mean']:.4f}"
        )
