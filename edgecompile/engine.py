"""What an engine is: the parts that its module of `emit/` has, and what holds without them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan
    from edgecompile.target import Target

    Run = Callable[[Feed], list[FloatArray]]

Version = tuple[int, ...]
Rows = list[dict[str, Any]]
"""Numbers of profile.json."""


class Write(Protocol):
    """Write a lowered model into a folder; return its files' names, the one to load first."""

    def __call__(
        self,
        model: "ir.Model",
        folder: Path,
        metadata: Mapping[str, str],
        one_file_bytes: int = ...,
    ) -> list[str]:
        """Write; `metadata` goes into the file where its format has a place."""


class Runner(Protocol):
    """Open an artifact; return a function from a feed to its outputs, in their order."""

    def __call__(self, artifact: Path, threads: int = 0, *, one_pool: bool = False) -> "Run":
        """Open; 0 threads = all. `one_pool` shares the threads with other open artifacts."""


class Finish(Protocol):
    """Let a vendor's compiler make more files of an artifact."""

    def __call__(
        self, names: list[str], board: "Target", folder: Path, say: Callable[[str, str], None]
    ) -> tuple[list[str], Rows, dict[str, Any]]:
        """Return all files, rows for the profile, a table for the manifest."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine; its module has all fields without a default, and what differs of the others.

    `package` is what pip installs on the device, `beside` what else, `isas` the machines that it
    has wheels for; `how` says how an accuracy was got. `rungs` are the steps of the ladder between
    int8 and float; without a float, `no_ladder` says what a user can do below the gate. `weights`
    are the schemes of weights only and `lookups` the formats of embedding tables below int8, each
    with the oldest runtime that has it. `without_vnni` are the settings that leave out VNNI.

    An engine that `rounds_outputs` has the ranges of what Linears give in its plan. One of
    `fixed_shapes` is written for a few lengths of text, for one if `one_length`. One that is
    `only_rounded` has no form in float. `profiles` go from the fastest to the most accurate;
    `judges` is how many golden samples judge, where the simulator is slow.
    """

    name: str
    write: Write
    runner: Runner
    runtime_version: Callable[[], str]
    package: str
    isas: Sequence[str]
    how: str
    beside: Sequence[str] = ()
    artifact: str = ""
    rungs: Sequence[str] = ()
    no_ladder: str = ""
    weights: Mapping[str, Version] = field(default_factory=dict)
    lookups: Mapping[str, Version] = field(default_factory=dict)
    without_vnni: Mapping[str, str] = field(default_factory=dict)
    rounds_outputs: bool = False
    fixed_shapes: bool = False
    one_length: bool = False
    only_rounded: bool = False
    profiles: Sequence[str] = ()
    judges: int | None = None
    toolchain: str = ""
    """The vendor's compiler, by its name in toolchain/: installed before a build begins."""
    time_nodes: "Callable[[Path, Feed, int], list[tuple[str, str, float]]] | None" = None
    """(artifact, feed, runs) -> name, operator and microseconds of each node."""
    observe: "Callable[[Plan, Target, ir.Model, Iterable[Feed]], Plan] | None" = None
    """Add the ranges of all tensors to a plan, found in the engine's own float form."""
    answer_all: "Callable[[Path, Sequence[Feed]], list[list[FloatArray]]] | None" = None
    """Answer all feeds at once: an emulator that starts slowly; its accuracy is "emulated"."""
    accuracy_kind: str = ""
    """"measured" where what answers all feeds at once is the runtime itself, on this host."""
    numbers: Callable[[Path], Rows] | None = None
    """What an artifact tells of itself for the profile: the NPU's share."""
    finish: Finish | None = None
    inspect: Callable[[Path], dict[str, Any]] | None = None
    """What an artifact holds, where it is no .onnx or .tflite file: as inspect_file tells it."""


def read_engine(name: str, module: ModuleType) -> Engine:
    """Return the engine that a module defines: functions by their name, the rest in capitals.

    What answers all feeds at once answers one; a toolchain's version is the runtime's.
    """
    found: dict[str, Any] = {"name": name}
    if answer_all := getattr(module, "answer_all", None):
        found["runner"] = partial(_one_by_one, answer_all)
    if toolchain := getattr(module, "TOOLCHAIN", ""):
        found["runtime_version"] = partial(_toolchain_version, toolchain)
    for part in fields(Engine):
        for written in (part.name, part.name.upper()):
            if hasattr(module, written):
                found[part.name] = getattr(module, written)
    return Engine(**found)


def _one_by_one(
    answer_all: "Callable[[Path, Sequence[Feed]], list[list[FloatArray]]]",
    artifact: Path,
    threads: int = 0,
    *,
    one_pool: bool = False,
) -> "Run":
    del threads, one_pool  # the simulator has its own
    return lambda feed: answer_all(artifact, [feed])[0]


def _toolchain_version(name: str) -> str:
    """Return a toolchain's version, if this host can run it; ToolchainError says why not."""
    from edgecompile.errors import ToolchainError
    from edgecompile.toolchain.venv import read_toolchain, why_unfit

    tool = read_toolchain(name)
    if reason := why_unfit(tool):
        msg = f"toolchain {tool.name}: {reason}"
        raise ToolchainError(msg)
    return tool.version
