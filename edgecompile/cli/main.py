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
from edgecompile.cli.prune import prune
from edgecompile.cli.toolchain import toolchain
from edgecompile.errors import EdgeCompileError, GateError

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


def _complete_target(_ctx: click.Context, _param: click.Parameter, text: str) -> list[str]:
    from edgecompile import target

    return [name for name in target.completions() if name.startswith(text)]


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
target_option = click.option(
    "-t", "--target", "targets", multiple=True, shell_complete=_complete_target,
    help="What to compile for; may be given several times. `edgecompile targets` lists them.",
)  # fmt: skip


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgecompile")
def cli() -> None:
    """Compile a transformer for small machines: int8, fast, and proven to answer the same."""


@cli.command()
@click.argument("model", type=click.Path(path_type=Path), required=False)
@target_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("dist"), show_default=True,
    help="Folder that gets one bundle a target.",
)  # fmt: skip
@click.option(
    "--recipe", "recipe_file", type=click.Path(path_type=Path),
    help="A recipe (edgecompile.toml); the command line wins over it.",
)  # fmt: skip
@click.option(
    "--data", "--calibrate", "data", metavar="PATH|random", type=click.Path(),
    help="Calibration data: texts (.txt, .jsonl, .csv), model inputs (.npz), a folder of images or"
    " .wav; or the word random, to try whether a model builds at all.",
)  # fmt: skip
@click.option(
    "--dump", type=click.Path(path_type=Path),
    help="Folder that gets the graph after every pass, NNN_stage_pass.onnx.",
)  # fmt: skip
@as_json
def build(  # noqa: PLR0917 - one parameter an option
    model: Path | None,
    targets: tuple[str, ...],
    output: Path,
    recipe_file: Path | None,
    data: str | None,
    dump: Path | None,
    as_json: bool,  # noqa: FBT001 - click passes flags by name
) -> None:
    """Build MODEL, a Hugging Face directory or an .onnx file, for each target."""
    from dataclasses import replace

    from edgecompile import pipeline
    from edgecompile import recipe as recipes
    from edgecompile.cli.progress import progress
    from edgecompile.data.source import word_of
    from edgecompile.report import terminal

    recipe = recipes.read(recipe_file) if recipe_file else recipes.Recipe()
    if data is not None:
        place = data if word_of(data) else str(Path(data).absolute())
        recipe = replace(recipe, calibration=replace(recipe.calibration, data=place))
    names = targets or recipe.targets.names
    if model is None and recipe.model.source:
        model = recipe.path(recipe.model.source)
    if model is None:
        msg = "give MODEL, or name [model] source in the recipe"
        raise click.UsageError(msg)
    if not names:
        msg = "give at least one target with -t; `edgecompile targets` lists them"
        raise click.UsageError(msg)
    failed: GateError | None = None
    bundles: list[pipeline.Bundle] = []
    with progress() as say:
        try:
            trace = pipeline.Trace(say, dump)
            for bundle in pipeline.build(model, names, output, recipe, trace):
                say("done", str(bundle.folder))
                bundles.append(bundle)
        except GateError as error:  # bundles that stand already are still shown
            failed = error
    rows = [terminal.summary(b.manifest, b.profile) | {"bundle": str(b.folder)} for b in bundles]
    _print_json(rows) if as_json else _print_bundles(rows)
    if failed is not None:
        raise failed


def _print_bundles(rows: list[dict[str, Any]]) -> None:
    from edgecompile.report import terminal

    if rows:
        _print(terminal.build_table(rows))
    for row in rows:
        if row["engines"]:
            _print(terminal.engines_table(row))
    for row in rows:
        click.echo(f"bundle: {row['bundle']}   (check it there with: python smoke.py)")


@cli.command()
@click.argument("recipe_file", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--restart", is_flag=True, help="Forget the checkpoints of an earlier run.")
@as_json
def distill(recipe_file: Path, restart: bool, as_json: bool) -> None:  # noqa: FBT001 - click
    """Train the pruned model of RECIPE to answer as the dense one does.

    Ended at any moment, the same command goes on at the last checkpoint. On several processes:
    torchrun --nproc-per-node 2 -m edgecompile distill RECIPE
    """
    from edgecompile import recipe as recipes
    from edgecompile.cli.progress import progress, training
    from edgecompile.distill_model import distill as run
    from edgecompile.trace import Trace

    recipe = recipes.read(recipe_file)
    with progress() as say, training(say) as show:
        found = run(recipe, Trace(say), show, restart=restart)
    if int(os.environ.get("RANK", "0")):
        return
    if as_json:
        _print_json({"student": str(found.folder), **found.record})
        return
    before, after = found.record["before"]["mean"], found.record["after"]["mean"]
    click.echo(f"student: {found.folder}   {found.record['metric']} {before:.4f} -> {after:.4f}")


@cli.command("targets")
@click.argument("name", required=False, shell_complete=_complete_target)
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
    _print_json(rows) if as_json else _print(terminal.targets_table(rows))


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
    _print_json(rows) if as_json else _print(terminal.plan_table(rows))


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--sensitivity", is_flag=True,
    help="FILE is a float model: measure what each layer loses in int8, and what float would cost.",
)  # fmt: skip
@click.option(
    "-t", "--target", default="x86-64", show_default=True, shell_complete=_complete_target,
    help="Whose number formats to measure, with --sensitivity.",
)  # fmt: skip
@as_json
def inspect(
    file: Path,
    sensitivity: bool,  # noqa: FBT001 - click passes flags by name
    target: str,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Show size, widths, operators and number formats of FILE: a model, bundle or student."""
    from edgecompile.inspect_file import inspect_file
    from edgecompile.report import terminal

    if sensitivity:
        from edgecompile.cli.progress import progress
        from edgecompile.inspect_model import inspect_sensitivity

        with progress() as say:
            rows = inspect_sensitivity(file, target, say)
        _print_json(rows) if as_json else _print(terminal.sensitivity_table(rows))
        return
    found = inspect_file(file)
    if as_json:
        _print_json(found)
        return
    kind = f"opset {found['opset']}" if "opset" in found else f"TFLite, {found['signatures']}"
    click.echo(f"{found['file']}: {found['size_bytes']:,} bytes, {kind}")
    for table in terminal.inspect_tables(found):
        _print(table)


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


cli.add_command(prune)
cli.add_command(toolchain)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def _print(table: object) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 120).print(table)
