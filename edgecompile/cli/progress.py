"""Progress on standard error: live on a terminal, plain lines in CI."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edgecompile.distill.job import Moment

Say = Callable[[str, str], None]
Show = Callable[["Moment"], None]


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


@contextmanager
def training(say: Say) -> Iterator[Show]:
    """Give a function to be called after each step of a training: a bar, or a line now and then."""
    if not sys.stderr.isatty():
        yield lambda moment: _evaluated(say, moment)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("[bold]distill[/]"), BarColumn(), TextColumn("{task.description}"))
    bar = Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True))
    task = bar.add_task("reading", total=None)

    def show(moment: "Moment") -> None:
        if not bar.live.is_started:
            say("train", f"{moment.steps} steps")
            bar.start()
        bar.update(task, completed=moment.step, total=moment.steps, description=_told(moment))

    try:
        yield show
    finally:
        bar.stop()


def _evaluated(say: Say, moment: "Moment") -> None:
    if moment.evaluated:
        say("train", _told(moment))


def _told(moment: "Moment") -> str:
    left = f"{moment.left_s / 60:.0f} min" if moment.left_s >= 90 else f"{moment.left_s:.0f} s"
    return (
        f"step {moment.step}/{moment.steps}  loss {moment.loss:.4f}  {moment.metric}"
        f" {moment.row['mean']:.4f} (worst {moment.row['min']:.4f})"
        f"  {moment.speed:,.0f} {moment.counted}/s  {left} left"
    )
