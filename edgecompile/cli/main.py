"""The command `edgecompile`: reads arguments, calls the package, prints. No logic."""

import errno
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import click

from edgecompile import __version__
from edgecompile.cli.build import build
from edgecompile.cli.cache import cache
from edgecompile.cli.calibrate_board import calibrate_board
from edgecompile.cli.check import check
from edgecompile.cli.diff import diff
from edgecompile.cli.distill import distill
from edgecompile.cli.inspect import inspect
from edgecompile.cli.options import as_json, complete_target, print_json, print_table, target_option
from edgecompile.cli.pack import pack
from edgecompile.cli.profile import profile
from edgecompile.cli.prune import prune
from edgecompile.cli.rebuild import rebuild
from edgecompile.cli.report import report
from edgecompile.cli.sign import sign
from edgecompile.cli.toolchain import toolchain
from edgecompile.cli.verify import verify
from edgecompile.errors import EdgeCompileError

BUG = 70
SHELLS = ("bash", "zsh", "fish")


class Commands(click.Group):
    """Turns errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; 1 a user's mistake, 3 a gate, 70 our bug, 130 and 143 interrupted."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminated)
        try:
            return super().invoke(ctx)
        except EdgeCompileError as error:
            _stop(f"error: {error}", error.exit_code)
        except KeyboardInterrupt as interrupt:
            _stop("interrupted; nothing half-written is left", 143 if interrupt.args else 130)
        except (click.exceptions.Exit, click.ClickException, BrokenPipeError):
            raise
        except Exception as error:
            if os.environ.get("EDGECOMPILE_DEBUG"):
                raise
            _stop(*_describe(error))


def _describe(error: Exception) -> tuple[str, int]:
    """Return the line and exit code of an error that nobody foresaw: the disk's, or our bug."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = error.filename or f"the output or {tempfile.gettempdir()}"
        return f"error: {place}: {error.strerror}; free some, or set TMPDIR", 1
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}", 1
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"bug in edgecompile: {what}; EDGECOMPILE_DEBUG=1 shows where", BUG


def _terminated(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt("SIGTERM")  # noqa: EM101 - an argument, not a message


def _stop(line: str, code: int) -> NoReturn:
    click.echo(line, err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgecompile")
def cli() -> None:
    """Compile a transformer for small machines: int8, fast, and proven to answer the same."""


@cli.command("targets")
@click.argument("name", required=False, shell_complete=complete_target)
@as_json
def list_targets(name: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes flags
    """List all targets, or show one."""
    from dataclasses import asdict

    from edgecompile import target
    from edgecompile.report import terminal

    if name is not None:
        path = target.path_of(name)
        text = json.dumps(asdict(target.load(name)), indent=2) if as_json else path.read_text()
        click.echo(text.rstrip())
        return
    rows = [asdict(target.load(n)) | {"engines": target.engines(n)} for n in target.names()]
    if as_json:
        print_json(rows)
        return
    print_table(terminal.targets_table(rows))
    for each in target.waiting().values():
        click.echo(
            f"{each.name}: {each.description}; no engine yet: its compiler needs {each.needs}"
        )


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@target_option
@click.option(
    "--recipe", "recipe_file", type=click.Path(path_type=Path), help="The build's recipe.",
)  # fmt: skip
@as_json
def plan(
    model: Path,
    targets: tuple[str, ...],
    recipe_file: Path | None,
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """Show the steps of a build, with what each needs and gives; nothing runs."""
    from edgecompile import recipe as recipes
    from edgecompile.preview import preview
    from edgecompile.report import terminal

    rows = preview(model, list(targets), recipes.read(recipe_file) if recipe_file else None)
    print_json(rows) if as_json else print_table(terminal.plan_table(rows))


@cli.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a completion script: eval "$(edgecompile completion bash)"."""
    from click.shell_completion import get_completion_class

    if shell == "bash":  # "x86-64:openvino" is one word
        click.echo('COMP_WORDBREAKS="${COMP_WORDBREAKS//:}"')
    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(cli, {}, "edgecompile", "_EDGECOMPILE_COMPLETE").source())


for command in (
    build,
    distill,
    inspect,
    profile,
    report,
    prune,
    check,
    diff,
    verify,
    sign,
    pack,
    rebuild,
    calibrate_board,
    toolchain,
    cache,
):
    cli.add_command(command)
