"""Progress on standard error: live on a terminal, plain lines in CI."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import click

Say = Callable[[str, str], None]


def progress() -> AbstractContextManager[Say]:
    """Give a function say(stage, what), to be called as each stage begins."""
    return _live() if sys.stderr.isatty() else _lines()


@contextmanager
def _lines() -> Iterator[Say]:
    start = time.perf_counter()

    def say(stage: str, what: str) -> None:
        click.echo(f"[{time.perf_counter() - start:6.1f} s] {stage:12} {what}", err=True)

    yield say


@contextmanager
def _live() -> Iterator[Say]:
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    running: list[tuple[str, str, float]] = []

    def finish() -> None:
        while running:
            stage, what, start = running.pop()
            seconds = f"{time.perf_counter() - start:5.1f} s"
            console.print(f"[green]✓[/] [dim]{seconds}[/] [bold]{stage:12}[/] {escape(what)}")

    with console.status("starting") as status:

        def say(stage: str, what: str) -> None:
            finish()
            running.append((stage, what, time.perf_counter()))
            status.update(f"[bold]{stage}[/] {escape(what)}")

        yield say
        finish()
