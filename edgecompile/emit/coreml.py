"""Engine coreml: lowered graph -> a Core ML package, and numpy to execute what was written.

Apple's runtime is on Apple's systems alone: nothing here is executed by it. What judges is the
package itself, read back from disk: its own operators and stored weights, computed with numpy.
`smoke.py` runs it with Core ML on a Mac. Batch 1, one length, texts padded.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import ToolchainError, UnsupportedError, WorkerError

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
WORKERS = Path(__file__).parents[1] / "coreml"


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
    from edgecompile.facts import CHIP, TEXT_AXES
    from edgecompile.toolchain.graph_file import write_graph

    del one_file_bytes
    chip = dict(part.split("=", 1) for part in model.metadata_props.get(CHIP, "").split())
    stated = {**metadata, TEXT_AXES: model.metadata_props.get(TEXT_AXES, "{}")}
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        place = Path(scratch)
        write_graph(model, place)
        request = {
            "package": str((folder / PACKAGE_FOLDER).absolute()),
            "minimum": chip.get("minimum", "iOS16"), "metadata": stated,
        }  # fmt: skip
        try:
            promised = _work("write_worker.py", request, place, WRITE_LIMIT_S)
        except WorkerError as error:
            if NO_FORM in str(error):
                what = str(error).partition("NotImplementedError: ")[2].partition(NO_FORM)[0]
                msg = f"coreml: {what}{NO_FORM}; choose another target for this model"
                raise UnsupportedError(msg) from error
            raise
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


def _work(worker: str, request: Mapping[str, Any], place: Path, time_limit_s: float) -> Any:
    """Let the toolchain's Python do a request; a build has installed it by now."""
    from edgecompile.toolchain.venv import open_venv
    from edgecompile.toolchain.worker import run_worker

    python = open_venv(TOOLCHAIN, lambda _stage, _line: None)
    return run_worker(python, WORKERS / worker, request, place, time_limit_s=time_limit_s)


def describe(artifact: Path) -> dict[str, Any]:
    """Return what a package holds: operators, bytes by type, Linears, inputs, outputs, metadata."""
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        request = {"package": str(artifact.absolute().parent), "feeds": ""}
        found: dict[str, Any] = _work("run_worker.py", request, Path(scratch), RUN_LIMIT_S)
        return found


def answer_all(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return what the package's own program gives, computed with numpy."""
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        place = Path(scratch)
        arrays = {f"{n:06}/{name}": a for n, feed in enumerate(feeds) for name, a in feed.items()}
        np.savez(place / "feeds.npz", **arrays)  # type: ignore[arg-type]
        request = {"package": str(artifact.absolute().parent), "feeds": "feeds.npz"}
        found = _work("run_worker.py", request, place, RUN_LIMIT_S)
        names = [value["name"] for value in found["outputs"]]
        with np.load(place / "answers.npz", allow_pickle=False) as answers:
            return [[answers[f"{n:06}/{name}"] for name in names] for n in range(len(feeds))]


def finish(
    names: list[str], board: "Target", folder: Path, say: "Callable[[str, str], None]"
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Say what was not executed; return the files, rows for the profile, a table of the package."""
    say("warning", f"{board.name}: {NOT_EXECUTED}")
    found = describe(folder / names[0])
    size = sum((folder / name).stat().st_size for name in names)
    row = {"model": "artifact", "unit": "bytes", "kind": "measured"}
    unknown = {"value": None, "unit": "share", "kind": None, "model": "artifact"}
    how = "not known here: Core ML places operators on the device"
    shares = [{"name": f"npu_share_{what}", **unknown, "how": how} for what in ("ops", "macs")]
    rows: list[dict[str, Any]] = [
        {"name": "size", "value": size, "how": "size of the package's files", **row},
        *shares,
    ]
    told = {key: found[key] for key in ("version", "operators", "inputs", "outputs")}
    return names, rows, {"executed": False, "why_not": NOT_EXECUTED, **told}
