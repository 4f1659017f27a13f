"""The command `edgecompile calibrate-board`."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from edgecompile.cli.options import as_json


@click.command("calibrate-board")
@click.argument("target")
@click.argument("measured", metavar="MEASURED.json...", nargs=-1, required=True,
                type=click.Path(path_type=Path))  # fmt: skip
@as_json
def calibrate_board(
    target: str,
    measured: tuple[Path, ...],
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """Fit TARGET's latency model to what smoke.py measured on your own board.

    Each MEASURED.json lies in its bundle, which `edgecompile profile BUNDLE --emulate` has
    counted. Later modelled latencies of TARGET on this machine use the factor.
    """
    from edgecompile.bundles.calibrate_board import calibrate_board as run

    found = run(target, measured)
    own = found.own
    if as_json:
        row = {"target": target, "before": found.before, **asdict(own), "file": str(found.file)}
        click.echo(json.dumps(row, indent=2))
        return
    click.echo(
        f"{target}: factor {found.before:.2f} -> {own.factor:.2f} (+-{own.band:.0%}), fitted to"
        f" {len(own.ratios)} measurement(s), by {own.model}"
    )
    click.echo(f"written: {found.file}   (used from now on; delete it to go back)")
