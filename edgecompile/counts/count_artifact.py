"""Count what one inference of an artifact executes on an emulated board."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from edgecompile.counts.attribute_operators import Counts, Operator, add, attribute_operators
from edgecompile.counts.build_plugin import build_plugin
from edgecompile.cpu import Cpu
from edgecompile.emulate.run import run_python
from edgecompile.emulate.userland import Userland
from edgecompile.errors import EmulationError
from edgecompile.scratch import scratch_folder

PROFILED = "onnxruntime"
"""The engine that can be asked for a profile of its operators."""
TIME_LIMIT_S = 3600
"""Four inferences of MiniLM take half a minute; a busy machine or a large model more."""
Block = tuple[int, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one inference on one thread: counts by class, of a second one, by operator, by block.

    `operators` have no counts where the engine tells nothing of them. A block is how often it was
    executed and its instructions, 8 hexadecimal digits each.
    """

    counts: Counts
    again: Counts
    operators: Sequence[Operator] = ()
    blocks: Sequence[Block] = field(default=(), repr=False)

    @property
    def difference(self) -> float:
        """Return how far the two inferences' instructions are apart, of the first's."""
        first, second = self.counts["instructions"], self.again["instructions"]
        return abs(first - second) / first

    @property
    def macs(self) -> int | None:
        """Return the int8 multiply-accumulates by the operators' shapes, if any has some."""
        found = [o.macs for o in self.operators if o.macs is not None]
        return sum(found) if found else None


def count_artifact(
    userland: Userland,
    cpu: Cpu,
    engine: str,
    artifact: Path,
    feed: Mapping[str, Any],
    *,
    runtime: Path,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Counted:
    """Run an artifact thrice on a feed; `runtime` is the runtime.py that opens it.

    Raises EmulationError: no C compiler, a run that fails.
    """
    if userland.architecture != "aarch64":
        what = userland.architecture
        msg = f"no instructions are counted: the plugin knows those of aarch64, not of {what}"
        raise EmulationError(msg)
    plugin = build_plugin(userland.qemu_version)
    with scratch_folder() as scratch:
        folder = scratch
        np.savez(folder / "feed.npz", **feed)
        lines, blocks = folder / "lines", folder / "blocks"
        program = Path(__file__).with_name("run_marked.py")
        arguments: list[str | Path] = [program, runtime, artifact, folder / "feed.npz"]
        arguments += [folder / "profile"] * (engine == PROFILED)
        options = ["-plugin", f"{_quoted(plugin)},out={_quoted(lines)},blocks={_quoted(blocks)}"]
        told = run_python(
            userland, cpu, arguments, options=options, environment=environment,
            time_limit_s=TIME_LIMIT_S,
        )  # fmt: skip
        first, second, *watched = _regions(lines)
        operators: list[Operator] = []
        if engine == PROFILED:
            where = json.loads(told.splitlines()[-1])
            profile = json.loads(Path(where["file"]).read_text(encoding="utf-8"))
            operators = attribute_operators(profile, int(where["start_ns"]), watched[0])
        elif artifact.suffix == ".tflite":
            from edgecompile.counts.tflite_operators import tflite_operators

            operators, _ = tflite_operators(artifact, {k: a.shape for k, a in feed.items()})
        return Counted(add(first[1:]), add(second[1:]), operators, _read_blocks(blocks))


def _quoted(path: Path) -> str:
    """Return a path for qemu, whose options end at a comma."""
    return str(path).replace(",", ",,")


def _regions(path: Path) -> list[list[dict[str, Any]]]:
    """Return the plugin's lines by region, each from its begin to its end."""
    regions: list[list[dict[str, Any]]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        if line["at"] == "begin":
            regions.append([])
        if regions:
            regions[-1].append(line)
    return regions


def _read_blocks(path: Path) -> list[Block]:
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [(int(times), words) for times, *words in rows]
