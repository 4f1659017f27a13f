"""What each layer of a float model loses in int8, on its own: measured before anything is built."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any


def inspect_sensitivity(
    path: Path, name: str, say: Callable[[str, str], None]
) -> list[dict[str, Any]]:
    """Return, worst first, the Linears that read one tensor, what they lose, and milliseconds.

    `name` is the target whose number formats are used; the committed texts are the data.
    """
    from edgecompile import engines, pipeline, target
    from edgecompile.emit.bundle import MANIFEST
    from edgecompile.errors import ModelError
    from edgecompile.export.read_model import find_source
    from edgecompile.ladder import SAMPLES, measure_ladder
    from edgecompile.recipe import Recipe

    if (path / MANIFEST).is_file():
        msg = f"{path}: is a bundle; give the float model that it was built from"
        raise ModelError(msg)
    board = target.load(name)
    prepared = pipeline.prepare(find_source(path), Recipe(), pipeline.Trace(say))
    say("sensitivity", f"{len(prepared.plan.activations)} tensors, one after the other")
    engine = engines.engine(board.engine)
    feeds = list(itertools.islice(prepared.data.calibration, SAMPLES))
    ladder = measure_ladder(
        prepared.model, prepared.plan, board, engine.rungs, feeds, pipeline.lower
    )
    rows: list[dict[str, Any]] = ladder.table(prepared.model)["tensors"]
    return rows
