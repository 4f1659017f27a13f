"""The command `edgecompile profile`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecompile.cli.options import as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--emulate", is_flag=True,
    help="On the emulated CPU of the bundle's board: its answers and its instructions count, its"
    " latency is modelled. The first time, this fetches qemu, a userland and LLVM (130 MB).",
)  # fmt: skip
@click.option(
    "--model", type=click.Path(path_type=Path),
    help="With --emulate: where the float model lies, to count it too and see what was saved.",
)  # fmt: skip
@click.option(
    "--on", "address", metavar="ssh://USER@HOST[:PORT][/FOLDER]",
    help="On a board, over ssh with a key: copied there, run, cleaned up; its numbers stay.",
)  # fmt: skip
@click.option(
    "--python", default="", metavar="PATH",
    help="With --on: a Python there that has numpy and the runtime; by default its python3, or a"
    " venv for this run alone.",
)  # fmt: skip
@click.option(
    "--ssh-config", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --on: in the place of ~/.ssh/config.",
)  # fmt: skip
@click.option(
    "--watts", default="auto", show_default=True, metavar="METER",
    help="With --on: what measures energy: pmic, ina219, rapl, /dev/tty..., command:..., off.",
)  # fmt: skip
@click.option(
    "--country", default="", metavar="DEU",
    help="With --on: whose electricity it is, for grams of CO2e; by default the recipe's.",
)  # fmt: skip
@click.option(
    "--a-day", default=0, type=click.IntRange(0), metavar="N",
    help="With --on: inferences a day, for the CO2e of a device in a year.",
)  # fmt: skip
@as_json
def profile(  # noqa: PLR0917 - one parameter an option
    bundle: Path,
    emulate: bool,  # noqa: FBT001 - click passes flags by name
    model: Path | None,
    address: str | None,
    python: str,
    ssh_config: Path | None,
    watts: str,
    country: str,
    a_day: int,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Run the smoke test of BUNDLE, the folder that a build wrote, and keep what it finds."""
    from edgecompile.bundles.profile_bundle import profile_emulated, profile_here
    from edgecompile.bundles.profile_on_board import Wishes, profile_on_board
    from edgecompile.cli.progress import progress

    if emulate and address:
        msg = "--emulate and --on: choose one"
        raise click.UsageError(msg)
    wishes = Wishes(address or "", python, ssh_config, watts, country, a_day)
    if not address and wishes != Wishes(""):
        msg = "--python, --ssh-config, --watts, --country and --a-day go with --on"
        raise click.UsageError(msg)
    if model and not emulate:
        msg = "--model goes with --emulate"
        raise click.UsageError(msg)
    with progress() as say:
        if address:
            found = profile_on_board(bundle, wishes, say)
        elif emulate:
            found = profile_emulated(bundle, say, model)
        else:
            found = profile_here(bundle, say)
    row = found.table()
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return
    for line in _lines(row):
        click.echo(line)
    _print_counts(row["counts"])
    _print_energy(found.bundle.profile["numbers"])


def _print_energy(numbers: "Sequence[Mapping[str, Any]]") -> None:
    from rich.console import Console

    from edgecompile.report.energy import energy_table

    table = energy_table(numbers)
    if table is not None:
        Console(width=None if sys.stdout.isatty() else 120).print(table)


def _print_counts(numbers: "Sequence[Mapping[str, Any]]") -> None:
    from rich.console import Console

    from edgecompile.report.counts import counts_table

    table = counts_table(numbers)
    if table is not None:
        Console(width=None if sys.stdout.isatty() else 120).print(table)
    for reason in dict.fromkeys(number["how"] for number in numbers if number["kind"] is None):
        click.echo(f"  not counted, or not modelled: {reason}")


def _lines(row: "Mapping[str, Any]") -> "Iterator[str]":
    accuracy, built = row["accuracy"], row["built"]
    yield f"{row['target']}: {row['where']} ({row['kind']})"
    yield (
        f"  {accuracy['metric']} to float {accuracy['mean']:.4f}, worst {accuracy['min']:.4f}, on"
        f" {accuracy['samples']} golden samples; the build saw {built['mean']:.4f}, worst"
        f" {built['min']:.4f}"
    )
    for latency in row["latency"]:
        shape = "x".join(str(n) for n in next(iter(latency["shape"].values())))
        yield (
            f"  {latency['p50_ms']:.2f} ms median, {latency['p90_ms']:.2f} ms p90, [{shape}],"
            f" {latency['threads']} thread(s), measured"
        )
    if row["warning"]:
        yield f"  warning: {row['warning']}"
    yield f"  kept in the bundle: {row['kept']}"
