"""What an artifact costs on a target, before there is one: its bytes, or one inference's time.

A graph is lowered and written as the target's own would be, with a plan in which only the numbers
are made up. Time is measured where the target's artifact runs on this host, else modelled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile import engines
from edgecompile.recipe import QuantizeTable
from edgecompile.scratch import scratch_folder
from edgecompile.stages import lower, lower_float
from edgecompile.target import Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed

REPEATS = 25
Measure = Callable[["Sequence[ir.Model]", "Feed"], list[float]]


@dataclass(frozen=True, slots=True)
class Meter:
    """How canonical graphs are measured: all that are given together, in turn, on one feed."""

    unit: str
    kind: str
    how: str
    measure: Measure


def size_meter(board: Target, wishes: QuantizeTable) -> Meter:
    """Return what weighs artifacts: the bytes of their files."""
    how = "the artifact's files, written with made-up ranges"
    return Meter("bytes", "measured", how, partial(_weigh, board, wishes))


def latency_meter(board: Target, wishes: QuantizeTable) -> Meter:
    """Return what times artifacts, or counts what they multiply where this host cannot run them."""
    from edgecompile.host import read_host, why_not
    from edgecompile.profile.count_products import HOW

    reason = why_not(read_host(), board)
    if reason is not None:
        return Meter("multiply-accumulates", "modelled", f"{HOW}; {reason}", _count)
    how = f"{board.engine} in turn with the others on this host, 1 thread, least of {REPEATS} runs"
    return Meter("ms", "measured", how, partial(_time, board, wishes))


def _write(model: "ir.Model", board: Target, wishes: QuantizeTable, folder: Path) -> list[Path]:
    from edgecompile.quantize.assume_plan import assume_plan

    folder.mkdir()
    plan = engines.fit_plan(assume_plan(model, wishes), board)
    names = engines.engine(board.engine).write(lower(model, plan, board), folder, {})
    return [folder / name for name in names]


def _weigh(
    board: Target, wishes: QuantizeTable, models: "Sequence[ir.Model]", _feed: "Feed"
) -> list[float]:
    sizes = []
    for model in models:
        with scratch_folder() as folder:
            files = _write(model, board, wishes, folder / "artifact")
            sizes.append(float(sum(file.stat().st_size for file in files)))
    return sizes


def _time(
    board: Target, wishes: QuantizeTable, models: "Sequence[ir.Model]", feed: "Feed"
) -> list[float]:
    from edgecompile.profile.measure_latency import time_in_turn

    runner = engines.engine(board.engine).runner
    with scratch_folder() as folder:
        files = [
            _write(model, board, wishes, folder / str(number))[0]
            for number, model in enumerate(models)
        ]
        runners = {str(number): runner(file, 1) for number, file in enumerate(files)}
        times = time_in_turn(runners, feed, REPEATS)
    return [min(row) for row in times.values()]


def _count(models: "Sequence[ir.Model]", feed: "Feed") -> list[float]:
    from edgecompile.profile.count_products import count_products

    return [count_products(lower_float(model), feed) for model in models]
