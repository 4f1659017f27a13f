"""`edgecompile inspect`: reads arguments, calls the package, prints. No logic."""

from pathlib import Path

import click

from edgecompile.cli.options import as_json, complete_target, print_json, print_table


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--sensitivity", is_flag=True,
    help="FILE is a float model: measure what each layer loses in int8, and what float would cost.",
)  # fmt: skip
@click.option(
    "-t", "--target", default="x86-64", show_default=True, shell_complete=complete_target,
    help="Whose number formats to measure, with --sensitivity.",
)  # fmt: skip
@as_json
def inspect(
    file: Path,
    sensitivity: bool,  # noqa: FBT001 - click passes flags by name
    target: str,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show size, widths, operators and number formats of FILE: a model, bundle or student."""
    from edgecompile.inspect_file import inspect_file
    from edgecompile.report import terminal

    if sensitivity:
        from edgecompile.cli.progress import progress
        from edgecompile.inspect_model import inspect_sensitivity

        with progress() as say:
            rows = inspect_sensitivity(file, target, say)
        print_json(rows) if as_json else print_table(terminal.sensitivity_table(rows))
        return
    found = inspect_file(file)
    if as_json:
        print_json(found)
        return
    kind = found.get("kind") or f"opset {found['opset']}"
    click.echo(f"{found['file']}: {found['size_bytes']:,} bytes, {kind}")
    for table in terminal.inspect_tables(found):
        print_table(table)
