"""Count the float model on a bundle's emulated board: what an inference cost before compression."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgecompile.bundles.count_bundle import Number, largest_golden
from edgecompile.bundles.read_bundle import ReadBundle
from edgecompile.bundles.recorded import check_model
from edgecompile.counts.count_artifact import count_artifact
from edgecompile.counts.emulated_numbers import emulated_numbers
from edgecompile.emit import onnxruntime
from edgecompile.emit.bundle import runtime_file
from edgecompile.emulate.userland import Userland
from edgecompile.errors import UnsupportedError
from edgecompile.latency.estimate_latency import find_bound, latency_numbers
from edgecompile.scratch import scratch_folder
from edgecompile.target import Target

ENGINE = "onnxruntime"
KEPT = ("instructions", "latency")
"""What a profile says of the float model; the rest is of int8."""


def count_float(
    bundle: ReadBundle, board: Target, userland: Userland, model: Path, say: Callable[..., None]
) -> list[Number]:
    """Return the float model's instructions and modelled latency, as other tools export it.

    `model` is where it lies: its files must be those of the build, else InputError. The same golden
    sample is run as of the artifact, by onnxruntime. Raises EmulationError; UnsupportedError for a
    model of several graphs.
    """
    from edgecompile.export.read_model import find_source
    from edgecompile.export_model import float_model
    from edgecompile.stages import run_stage
    from edgecompile.trace import Trace

    if bundle.manifest.get("part") or board.cpu is None:
        msg = f"{bundle.folder}: is a part of a model of several graphs: its float is not counted"
        raise UnsupportedError(msg)
    source = find_source(model)
    check_model(bundle.manifest, source)
    feed, sequence = largest_golden(bundle.folder / str(bundle.manifest["golden"]["file"]))
    plain = run_stage("lower/exchange", float_model(source, Trace(say)), {}, None)
    say("emulate", f"{board.name}: counting the float model on a {board.cpu.name}")
    with scratch_folder() as scratch:
        (name, *_) = onnxruntime.write(plain, scratch, {}, one_file_bytes=0)
        counted = count_artifact(
            userland, board.cpu, ENGINE, scratch / name, feed, runtime=runtime_file(ENGINE)
        )
    how = f"float, one inference under qemu {userland.qemu_version} as {board.cpu.name}"
    numbers: list[dict[str, Any]] = [*emulated_numbers(counted, how, sequence)]
    if board.latency is not None:
        bound = find_bound(board.latency, counted, say)
        numbers += latency_numbers(board.name, board.cpu, board.latency, bound, sequence)
    return [row | {"model": "float"} for row in numbers if row["name"] in KEPT]
