"""The commands `edgecompile toolchain list|install|remove|doctor`."""

import json
import sys

import click

from edgecompile.cli.options import as_json


def _complete(_ctx: click.Context, _param: click.Parameter, text: str) -> list[str]:
    from edgecompile.toolchain.venv import toolchains

    return [name for name in toolchains() if name.startswith(text)]


@click.group()
def toolchain() -> None:
    """Vendor compilers: each in an environment of its own, in your cache."""


@toolchain.command("list")
@as_json
def list_(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """List all, with their licences and whether they are installed."""
    from edgecompile.toolchain.doctor import rows

    found = rows()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for row in found:
        click.echo(f"{row['name']:12} {row['package']}: {row['state']}")
        click.echo(f"{'':12} {row['what']}")
        click.echo(f"{'':12} licence: {row['licence']}")


@toolchain.command()
@click.argument("names", nargs=-1, required=True, shell_complete=_complete)
def install(names: tuple[str, ...]) -> None:
    """Install toolchains now, from their hash locks; a build does it on first use."""
    from edgecompile.cli.progress import progress
    from edgecompile.toolchain.venv import open_venv, read_toolchain

    for name in names:
        read_toolchain(name)
    for name in names:
        with progress() as say:
            python = open_venv(name, say)
        click.echo(f"{name}: {python.parents[1]}")


@toolchain.command()
@click.argument("names", nargs=-1, required=True, shell_complete=_complete)
def remove(names: tuple[str, ...]) -> None:
    """Delete toolchains from the cache, those of other versions too."""
    from edgecompile.toolchain.venv import remove_venv

    for name in names:
        folders = remove_venv(name)
        gone = ", ".join(str(folder) for folder in folders) or "nothing was installed"
        click.echo(f"{name}: removed {gone}" if folders else f"{name}: {gone}")


@toolchain.command()
@as_json
def doctor(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Check what toolchains need of this host, and that the installed ones load.

    Exit code 1 where an installed one does not.
    """
    from edgecompile.toolchain.doctor import check

    found = check()
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for row in found:
            click.echo(f"{'ok  ' if row['ok'] else 'FAIL'}  {row['name']}: {row['what']}")
    if not all(row["ok"] for row in found):
        sys.exit(1)
