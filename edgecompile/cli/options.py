"""What several commands share: options, and how they print."""

import json
import sys

import click


def complete_target(_ctx: click.Context, _param: click.Parameter, text: str) -> list[str]:
    """Return the targets that a word may become."""
    from edgecompile import target

    return [name for name in target.completions() if name.startswith(text)]


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
target_option = click.option(
    "-t", "--target", "targets", multiple=True, shell_complete=complete_target,
    help="What to compile for; may be given several times. `edgecompile targets` lists them.",
)  # fmt: skip


def print_json(value: object) -> None:
    """Print for machines."""
    click.echo(json.dumps(value, indent=2))


def print_table(table: object) -> None:
    """Print for people: as wide as their terminal, else 120 columns."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(table)
