"""The commands `edgecompile cache info|prune|clear`."""

from typing import TYPE_CHECKING

import click

from edgecompile.cli.options import as_json, print_json

if TYPE_CHECKING:
    from edgecompile.cache.store import Store


@click.group()
def cache() -> None:
    """Finished stages of earlier builds: builds take from there what they need not make again.

    They lie in your cache, or in $EDGECOMPILE_STAGES ("off": nowhere), and take at most
    $EDGECOMPILE_CACHE_SIZE together, by default 10 GB: what was not used for longest goes first.
    Toolchains have a command of their own.
    """


@cache.command()
@as_json
def info(as_json: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Say where the cache is, and what it holds."""
    store = _store()
    stages: dict[str, list[int]] = {}
    for entry in store.entries():
        stages.setdefault(entry.stage, []).append(entry.bytes)
    total = sum(map(sum, stages.values()))
    if as_json:
        table = {name: {"entries": len(s), "bytes": sum(s)} for name, s in sorted(stages.items())}
        told = {"folder": str(store.folder), "bytes": total, "limit_bytes": store.limit_bytes}
        print_json(told | {"stages": table})
        return
    click.echo(f"{store.folder}: {_megabytes(total)} of {_megabytes(store.limit_bytes)}")
    for name, sizes in sorted(stages.items()):
        click.echo(f"{name:12} {len(sizes):5}  {_megabytes(sum(sizes))}")


@cache.command()
@click.option("--size", metavar="SIZE", help='The most to keep, such as "2 GB".')
def prune(size: str | None) -> None:
    """Remove what was not used for longest until the rest fits, and what killed builds left."""
    from edgecompile.byte_size import byte_size

    store = _store()
    limit = store.limit_bytes if size is None else byte_size(size)
    if limit is None:
        msg = f"must look like '2 GB', found '{size}'"
        raise click.BadParameter(msg, param_hint="--size")
    _tell(store, limit)


@cache.command()
def clear() -> None:
    """Remove all of it."""
    _tell(_store(), 0)


def _tell(store: "Store", limit_bytes: int) -> None:
    left = store.sweep()
    gone = store.trim(limit_bytes)
    size = _megabytes(sum(entry.bytes for entry in gone))
    more = f", and {left} folder(s) of killed builds" if left else ""
    click.echo(f"{store.folder}: removed {len(gone)} entries, {size}{more}")


def _store() -> "Store":
    from edgecompile.cache.open_store import PLACE, open_store
    from edgecompile.errors import CacheError

    store = open_store()
    if store is None:
        msg = f"{PLACE} is 'off': no cache is kept; unset it"
        raise CacheError(msg)
    return store


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
