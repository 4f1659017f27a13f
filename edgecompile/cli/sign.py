"""The command `edgecompile sign`."""

import os
import sys
from pathlib import Path

import click

PASSWORD = "EDGECOMPILE_KEY_PASSWORD"  # noqa: S105 - the name of a variable


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-k", "--key", required=True, metavar="FILE", type=click.Path(path_type=Path),
    help="Your minisign secret key; `minisign -G` makes one.",
)  # fmt: skip
@click.option(
    "--comment", default="", help="What the signature vouches for too; by default model and target."
)
def sign(bundle: Path, key: Path, comment: str) -> None:
    """Sign BUNDLE's manifest, which holds every file's hash: manifest.json.minisig.

    The key's password is asked for, or is taken from $EDGECOMPILE_KEY_PASSWORD.
    """
    from edgecompile.bundles.read_bundle import read_bundle
    from edgecompile.bundles.signature import SIGNATURE
    from edgecompile.bundles.signature import sign as run

    signed = run(read_bundle(bundle), key, _password, comment)
    click.echo(f"signed: {bundle / SIGNATURE}   (key {signed.key}: {signed.comment})")


def _password() -> str:
    given = os.environ.get(PASSWORD)
    if given is None and not sys.stdin.isatty():
        msg = f"the key has a password, and there is no terminal to ask for it: set ${PASSWORD}"
        raise click.UsageError(msg)
    return str(click.prompt("Password", hide_input=True, err=True)) if given is None else given
