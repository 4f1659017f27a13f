"""`edgecompile build`: reads arguments, calls the package, prints. No logic."""

from pathlib import Path
from typing import Any

import click

from edgecompile.cli.check import finish_build, judge_built, print_findings
from edgecompile.cli.options import as_json, print_json, print_table, target_option
from edgecompile.cli.outputs import Outputs, ci_options
from edgecompile.errors import GateError


@click.command()
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
@click.option(
    "--emulate/--no-emulate", default=None,
    help="Judge ARM boards' artifacts on their CPU, emulated: fetch what that takes (82 MB, once),"
    " or leave it out. Without either: where it is set up already.",
)  # fmt: skip
@click.option(
    "--cache/--no-cache", default=True,
    help="Take finished stages of earlier builds; or make all anew, and keep that.",
)  # fmt: skip
@ci_options
@as_json
def build(  # noqa: PLR0917 - one parameter an option
    model: Path | None,
    targets: tuple[str, ...],
    output: Path,
    recipe_file: Path | None,
    data: str | None,
    dump: Path | None,
    emulate: bool | None,  # noqa: FBT001 - click passes flags by name
    cache: bool,  # noqa: FBT001
    as_json: bool,  # noqa: FBT001
    outputs: Outputs,
) -> None:
    """Build MODEL, a Hugging Face directory or an .onnx file, for each target.

    Bundles over the recipe's [budget] are kept: the build ends with 3 and a line a limit.
    """
    from dataclasses import asdict, replace

    from edgecompile import pipeline
    from edgecompile import recipe as recipes
    from edgecompile.cache.open_store import open_store
    from edgecompile.cli.progress import progress
    from edgecompile.report import terminal

    recipe = recipes.read(recipe_file) if recipe_file else recipes.Recipe()
    if data is not None:
        from edgecompile.data.source import word_of

        place = data if word_of(data) else str(Path(data).absolute())
        recipe = replace(recipe, calibration=replace(recipe.calibration, data=place))
    if emulate is not None:
        wish = "always" if emulate else "never"
        recipe = replace(recipe, evaluate=replace(recipe.evaluate, emulate=wish))
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
            for bundle in pipeline.build(
                model, names, output, recipe, trace, store=open_store(), fresh=not cache
            ):
                say("done", str(bundle.folder))
                bundles.append(bundle)
        except GateError as error:  # bundles that stand already are still shown
            failed = error
    rows = [terminal.summary(b.manifest, b.profile) | {"bundle": str(b.folder)} for b in bundles]
    verdicts, findings = judge_built(bundles, recipe, recipe_file)
    for row, built in zip(rows, bundles, strict=True):
        row["budget"] = [asdict(v) for v in verdicts if v.bundle == built.folder.name]
    print_json(rows) if as_json else _print_bundles(rows)
    if not as_json:
        print_findings(findings)
    finish_build(verdicts, findings, failed, outputs)


def _print_bundles(rows: list[dict[str, Any]]) -> None:
    from edgecompile.report import terminal

    if rows:
        print_table(terminal.build_table(rows))
    for row in rows:
        if row["engines"]:
            print_table(terminal.engines_table(row))
    for row in rows:
        click.echo(f"bundle: {row['bundle']}   (check it there with: python smoke.py)")
