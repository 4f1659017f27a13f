"""Bounds of the networks whose times ncnn publishes: what the boards' [latency] is fitted to.

    python benchmarks/anchors.py [TARGET ...]

Runs ncnn 1.0.20230517's aarch64 wheel on the emulated boards and prints the two rows that a
target's file holds: million cycles by llvm-mca's resources, and by counts alone.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ncnn_networks import NETWORKS
from running import ROOT, options

from edgecompile.cache_folder import cache_folder
from edgecompile.counts.build_plugin import build_plugin
from edgecompile.cpu import Cpu
from edgecompile.emulate.run import run_python
from edgecompile.emulate.userland import Userland, open_userland
from edgecompile.latency.bound_blocks import bound_blocks
from edgecompile.latency.bound_counts import bound_counts
from edgecompile.latency.llvm import open_llvm
from edgecompile.target import Target, load
from edgecompile.toolchain.once import once
from edgecompile.toolchain.wheels import fetch_wheels, manylinux

BOARDS = ("raspberry-pi-5", "raspberry-pi-4", "raspberry-pi-3")


@dataclass(frozen=True, slots=True)
class Run:
    """Counts of one inference, and its blocks."""

    counts: Mapping[str, int]
    blocks: list[tuple[int, list[str]]]


def main() -> None:
    """Print each board's rows."""
    parser = options(__doc__)
    parser.add_argument("targets", nargs="*", default=BOARDS)
    arguments = parser.parse_args()
    userland, llvm = open_userland(say=_say), open_llvm(_say)
    wheel = once(cache_folder() / "ncnn-1.0.20230517", _fetch)
    for name in arguments.targets:
        board = load(name)
        if board.latency is None:
            sys.exit(f"{name}: its file has no table [latency]")
        rows: dict[str, list[float]] = {"resources_mcycles": [], "counts_mcycles": []}
        for network in board.latency.anchors:
            ran = run_network(network, board, userland, wheel)
            bound = bound_blocks(llvm, board.latency.scheduler, ran.blocks)
            rows["resources_mcycles"].append(round(bound.cycles / 1e6, 1))
            alone = bound_counts(ran.counts, board.latency)
            rows["counts_mcycles"].append(round(alone / 1e6, 1))
        print(f"{name}, emulated, {', '.join(board.latency.anchors)}:")
        for key, row in rows.items():
            print(f"{key} = {row}")


def run_network(name: str, board: Target, userland: Userland, wheel: Path) -> Run:
    """Run a network on an emulated board."""
    text, edge = NETWORKS[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "net.param").write_text(text)
        plugin = build_plugin(userland.qemu_version)
        told = ["-plugin", f"{plugin},out={folder / 'lines'},blocks={folder / 'blocks'}"]
        program = [ROOT / "benchmarks" / "run_ncnn.py", wheel, folder / "net.param", str(edge)]
        run_python(userland, cpu_of(board), program, options=told)
        *_, last = (folder / "lines").read_text().splitlines()
        rows = [line.split() for line in (folder / "blocks").read_text().splitlines()]
    return Run(json.loads(last), [(int(times), words) for times, *words in rows])


def cpu_of(board: Target) -> Cpu:
    """Return the CPU that a target's file describes."""
    if board.cpu is None:
        sys.exit(f"{board.name}: its file has no table [cpu]")
    return board.cpu


def _fetch(scratch: Path) -> None:
    fetch_wheels(ROOT / "locks" / "ncnn.txt", manylinux("aarch64", 28), "3.11", scratch)


def _say(stage: str, what: str) -> None:
    print(f"{stage}: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()
