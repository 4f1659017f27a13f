"""Engine coreml: lowered graph -> a Core ML package, and numpy to execute what was written.

Apple's runtime is on Apple's systems alone: nothing here is executed by it. What judges is the
package itself, read back from disk: its own operators and stored weights, computed with numpy.
`smoke.py` runs it with Core ML on a Mac. Batch 1, one length, texts padded.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import ToolchainError
from edgecompile.scratch import scratch_folder
from edgecompile.toolchain.ask import FEEDS, ask, read_answers, write_feeds

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.target import Target

PACKAGE_FOLDER = "model.mlpackage"
ARTIFACT = f"{PACKAGE_FOLDER}/Manifest.json"
"""It names the other files' contents: the package is the folder around it."""
TOOLCHAIN = "coreml"
PACKAGE = "coremltools"
"""What pip installs on a Mac."""
ISAS = ("aarch64",)
"""Machines that Core ML runs int8 packages of ours on: those with Apple silicon."""
FIXED_SHAPES = ONE_LENGTH = True
"""The package holds one graph; its length is the longest of [shapes] sequence."""
HOW = (
    "not executed by Core ML: the written package read back, its own operators and weights"
    " computed with numpy, each tensor rounded to float16, texts padded"
)
NOT_EXECUTED = (
    "Core ML was NOT EXECUTED here, for it runs on Apple's systems alone; numpy computed what the"
    " package holds. Run smoke.py of the bundle on a Mac before you ship it"
)
JUDGES = 16
"""Golden samples that judge."""
WRITE_LIMIT_S, RUN_LIMIT_S = 600.0, 1800.0
NO_FORM = "has no Core ML form"
"""What the worker says of an operator that it does not know."""
HERE = Path(__file__).parents[1] / "coreml"
WRITE_WORKER, RUN_WORKER = HERE / "write_worker.py", HERE / "run_worker.py"


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = 0,
) -> list[str]:
    """Write the package; return the names of its files, the one to load first.

    Raises UnsupportedError where an operator has no form, ToolchainError where what lies on disk
    is not what was asked for.
    """
    from edgecompile.chip import chip_of
    from edgecompile.facts import TEXT_AXES
    from edgecompile.toolchain.graph_file import refusals_named, write_graph

    del one_file_bytes
    stated = {**metadata, TEXT_AXES: model.metadata_props.get(TEXT_AXES, "{}")}
    with scratch_folder() as place:
        write_graph(model, place)
        request = {
            "package": str((folder / PACKAGE_FOLDER).absolute()),
            "minimum": chip_of(model).get("minimum", "iOS16"), "metadata": stated,
        }  # fmt: skip
        with refusals_named("coreml", NO_FORM):
            promised = ask(TOOLCHAIN, WRITE_WORKER, request, place, time_limit_s=WRITE_LIMIT_S)
    _check(folder / ARTIFACT, model, promised["operators"])
    return [ARTIFACT, *(n for n in _files(folder) if n != ARTIFACT)]


def _files(folder: Path) -> list[str]:
    found = (folder / PACKAGE_FOLDER).rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in found if path.is_file())


def _check(artifact: Path, model: "ir.Model", promised: Mapping[str, int]) -> None:
    """Compare what lies on disk with what was to be written: operators, weights, ends, sizes."""
    found = describe(artifact)
    if found["operators"] != dict(promised):
        msg = f"coreml: the package holds {found['operators']}, written was {dict(promised)}"
        raise ToolchainError(msg)
    nodes = [node for node in model.graph if node.op_type == "DequantizeLinear"]
    arrays = [node.inputs[0].const_value for node in nodes if node.inputs[0] is not None]
    wanted = sum(array.nbytes for array in arrays if array is not None)
    kept = sum(int(np.prod(shape)) for shape, _ in found["rounded"].values())
    if kept != wanted:
        msg = f"coreml: the package holds {kept} int8 weights, the graph has {wanted}"
        raise ToolchainError(msg)
    ends = [value["name"] for value in (*found["inputs"], *found["outputs"])]
    if ends != [value.name for value in (*model.graph.inputs, *model.graph.outputs)]:
        msg = f"coreml: the package's inputs and outputs are {', '.join(ends)}"
        raise ToolchainError(msg)


def describe(artifact: Path) -> dict[str, Any]:
    """Return what a package holds: operators, bytes by type, Linears, inputs, outputs, metadata."""
    return _run(artifact, [])[0]


def answer_all(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return what the package's own program gives, computed with numpy."""
    found, answers = _run(artifact, feeds)
    names = [value["name"] for value in found["outputs"]]
    return [[row[name] for name in names] for row in answers]


def _run(
    artifact: Path, feeds: "Sequence[Feed]"
) -> "tuple[dict[str, Any], list[dict[str, FloatArray]]]":
    """Return what a package holds, and its answers to feeds."""
    with scratch_folder() as place:
        write_feeds(feeds, place)
        request = {"package": str(artifact.absolute().parent), "feeds": FEEDS if feeds else ""}
        found = ask(TOOLCHAIN, RUN_WORKER, request, place, time_limit_s=RUN_LIMIT_S)
        return found, read_answers(place) if feeds else []


def finish(
    names: list[str], board: "Target", folder: Path, say: "Callable[[str, str], None]"
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Say what was not executed; return the files, rows for the profile, a table of the package."""
    say("warning", f"{board.name}: {NOT_EXECUTED}")
    found = describe(folder / names[0])
    unknown = {"value": None, "unit": "share", "kind": None, "model": "artifact"}
    how = "not known here: Core ML places operators on the device"
    rows: list[dict[str, Any]] = [
        {"name": f"npu_share_{what}", **unknown, "how": how} for what in ("ops", "macs")
    ]
    told = {key: found[key] for key in ("version", "operators", "inputs", "outputs")}
    return names, rows, {"executed": False, "why_not": NOT_EXECUTED, **told}
