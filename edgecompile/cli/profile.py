"""The command `edgecompile profile`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--emulate", is_flag=True,
    help="On the emulated CPU of the bundle's board: its answers and its instructions count, its"
    " latency is modelled. The first time, this fetches qemu, a userland and LLVM (130 MB).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def profile(bundle: Path, emulate: bool, as_json: bool) -> None:  # noqa: FBT001 - click
    """Run the smoke test of BUNDLE, the folder that a build wrote, and keep what it finds."""
    from edgecompile.cli.progress import progress
    from edgecompile.profile_bundle import profile_emulated, profile_here

    with progress() as say:
        found = (profile_emulated if emulate else profile_here)(bundle, say)
    row = found.table()
    if as_json:
        click.echo(json.dumps(row, indent=2))
        return
    for line in _lines(row):
        click.echo(line)
    _print_counts(row["counts"])


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
    yield f"  kept in the bundle: {row['kept']}"
