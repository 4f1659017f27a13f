"""The command `edgecompile pack`."""

from pathlib import Path

import click


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", metavar="FILE.zip", type=click.Path(path_type=Path),
    help="The archive; by default beside BUNDLE, named after model and target.",
)  # fmt: skip
def pack(bundle: Path, output: Path | None) -> None:
    """Pack BUNDLE, verified, into one .zip: the same bundle gives the same bytes.

    `verify` and `check` take it as it is. Files are stored, not compressed.
    """
    from edgecompile.bundles.pack_bundle import pack_bundle
    from edgecompile.files import sha256

    path = pack_bundle(bundle, output)
    click.echo(f"packed: {path}   (sha256 {sha256(path)})")
