"""`edgecompile distill`: reads arguments, calls the package, prints. No logic."""

import os
from pathlib import Path

import click

from edgecompile.cli.options import as_json, print_json


@click.command()
@click.argument("recipe_file", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--restart", is_flag=True, help="Forget the checkpoints of an earlier run.")
@as_json
def distill(recipe_file: Path, restart: bool, as_json: bool) -> None:  # noqa: FBT001 - click
    """Train the pruned model of RECIPE to answer as the dense one does.

    Ended at any moment, the same command goes on at the last checkpoint. On several processes:
    torchrun --nproc-per-node 2 -m edgecompile distill RECIPE
    """
    from edgecompile import recipe as recipes
    from edgecompile.cli.progress import progress, training
    from edgecompile.narrow.distill_model import distill as run
    from edgecompile.trace import Trace

    recipe = recipes.read(recipe_file)
    with progress() as say, training(say) as show:
        found = run(recipe, Trace(say), show, restart=restart)
    if int(os.environ.get("RANK", "0")):
        return
    if as_json:
        print_json({"student": str(found.folder), **found.record})
        return
    before, after = found.record["before"]["mean"], found.record["after"]["mean"]
    click.echo(f"student: {found.folder}   {found.record['metric']} {before:.4f} -> {after:.4f}")
