"""Engine qnn: lowered graph -> a context binary of Qualcomm's HTP, and the x86 emulator to run it.

The artifact is an .onnx file of exactly one EPContext node, with the binary beside it: no operator
is left to a CPU. onnxruntime-qnn compiles and emulates, in an environment of its own.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import DataError, ToolchainError, UnsupportedError, WorkerError
from edgecompile.scratch import scratch_folder

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan
    from edgecompile.target import Target

ARTIFACT, BINARY = "model.onnx", "model.onnx.bin"
COMPILED = "model_qnn.bin"
"""What the compiler calls the binary."""
TOOLCHAIN = "qnn"
PACKAGE = "onnxruntime-qnn"
"""What pip installs on the device."""
ISAS = ("x86_64", "aarch64")
"""Machines that its wheels are for."""
NO_LADDER = "an NPU has no float to fall back to: [quantize] profile = 'accurate', or lower [gate]"
"""What to do below the gate."""
ONLY_ROUNDED = True
"""Scheme "none" is not made."""
ROUNDS_OUTPUTS = FIXED_SHAPES = ONE_LENGTH = True
"""The binary holds one graph; its length is the longest of [shapes] sequence."""
HOW = "the artifact executed by Qualcomm's HTP emulator on x86 (onnxruntime-qnn), texts padded"
JUDGES = 16
"""Golden samples that judge: the emulator takes a second or more for each."""
COMPILE_LIMIT_S, EMULATE_LIMIT_S = 900.0, 3600.0
BAD_LINES = ("falling back to CPU", "backendValidateOpConfig", "libQnnCpu.so")
"""What its log says where all seems well and is not."""
MOST_NAMED = 4
MEMORY_LIMIT_BYTES = 32 << 30
"""Of address space: the libraries reserve more than they use."""
REFUSED = "assigned to the default CPU EP"
"""What strict mode says where the HTP does not take an operator."""


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = 0,
) -> list[str]:
    """Compile the graph; return the names of the artifact's files, the one to load first.

    Raises UnsupportedError where the HTP does not take an operator, ToolchainError where the
    compiler fails, or its artifact is not what it should be.
    """
    from edgecompile.emit import onnxruntime
    from edgecompile.facts import CHIP, TEXT_AXES
    from edgecompile.toolchain.worker import LOG

    del one_file_bytes
    with scratch_folder() as scratch:
        place = scratch
        (source, *_) = onnxruntime.write(model, place, {})
        (place / "out").mkdir()
        chip = dict(part.split("=", 1) for part in model.metadata_props.get(CHIP, "").split())
        request = {"do": "compile", "model": source, "artifact": f"out/{ARTIFACT}", "chip": chip}
        try:
            _work(request, place, COMPILE_LIMIT_S)
        except WorkerError as error:
            if REFUSED in str(error):
                raise UnsupportedError(_refusal(request, place)) from error
            raise
        _check(place / "out", (place / LOG).read_text(encoding="utf-8", errors="replace"))
        axes = {TEXT_AXES: model.metadata_props.get(TEXT_AXES, "{}")}
        _label(place / "out" / ARTIFACT, {**metadata, **axes})
        shutil.copyfile(place / "out" / ARTIFACT, folder / ARTIFACT)
        shutil.copyfile(place / "out" / COMPILED, folder / BINARY)
    return [ARTIFACT, BINARY]


WORKER = Path(__file__).parents[1] / "toolchain" / "qnn_worker.py"


def _work(request: Mapping[str, Any], place: Path, time_limit_s: float) -> None:
    """Let the toolchain's Python do a request; a build has installed it by now."""
    from edgecompile.toolchain.venv import open_venv
    from edgecompile.toolchain.worker import run_worker

    python = open_venv(TOOLCHAIN, lambda _stage, _line: None)
    run_worker(
        python,
        WORKER,
        request,
        place,
        time_limit_s=time_limit_s,
        memory_limit_bytes=MEMORY_LIMIT_BYTES,
    )


def _refusal(request: Mapping[str, Any], place: Path) -> str:
    """Name what the HTP does not take: what another compilation leaves beside its contexts."""
    import onnx

    loose = {**request, "strict": False, "artifact": "loose.onnx"}
    _work(loose, place, COMPILE_LIMIT_S)
    if not (place / "loose.onnx").is_file():
        return "qnn: the NPU's compiler takes nothing of this graph; choose another target"
    nodes = onnx.load(place / "loose.onnx").graph.node
    taken = ("EPContext", "QuantizeLinear", "DequantizeLinear")
    left = [f"'{node.name}' ({node.op_type})" for node in nodes if node.op_type not in taken]
    more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
    named = ", ".join(left[:MOST_NAMED]) + more or "an operator"
    return (
        f"qnn: the NPU does not take {named}, and nothing may run on the CPU; choose another target"
        " for this model"
    )


def _check(folder: Path, log: str) -> None:
    """Trust nothing but the artifact: its one node, its binary's size, the log."""
    import onnx

    names = sorted(path.name for path in folder.iterdir())
    if names != [ARTIFACT, COMPILED] or not (folder / COMPILED).stat().st_size:
        msg = f"qnn: the compiler wrote {', '.join(names) or 'nothing'}, not {ARTIFACT}, {COMPILED}"
        raise ToolchainError(msg)
    nodes = [node.op_type for node in onnx.load(folder / ARTIFACT).graph.node]
    if nodes != ["EPContext"]:
        msg = f"qnn: {len(nodes)} nodes instead of one EPContext: {', '.join(sorted(set(nodes)))}"
        raise ToolchainError(msg)
    for line in log.splitlines():
        if any(bad in line for bad in BAD_LINES):
            msg = f"qnn: the compiler's log says: {line.strip()[:300]}"
            raise ToolchainError(msg)


def _label(artifact: Path, metadata: Mapping[str, str]) -> None:
    """Write into the artifact what it says of itself, and how its binary is called here."""
    import onnx

    model = onnx.load(artifact)
    for attribute in model.graph.node[0].attribute:
        if attribute.name == "ep_cache_context":
            attribute.s = BINARY.encode()
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, artifact)


def observe(plan: "Plan", target: "Target", model: "ir.Model", feeds: "Iterable[Feed]") -> "Plan":
    """Return the plan with the range of every tensor of this engine's float form."""
    from edgecompile.quantize.observe_tensors import observe_tensors
    from edgecompile.stages import lower

    lowered = lower(model, plan, target)
    length = max(target.lengths)
    return observe_tensors(lowered, plan, (fit_feed(feed, lowered, length) for feed in feeds))


def fit_feed(feed: "Feed", model: "ir.Model", length: int) -> "Feed":
    """Return a feed in the artifact's shapes and types; what pads is a copy of what is there.

    The mask says 0 there. So tensors hold what real tokens give, and nothing has to be left out.
    """
    from edgecompile.graph import sizes

    fitted: dict[str, Any] = {}
    for value in model.graph.inputs:
        array = feed[str(value.name)]
        wanted = tuple(sizes(value))
        given = array.shape[1] if array.ndim > 1 else 0
        if array.shape != wanted and wanted[1] == length:
            if value.name == MASK:
                array = np.pad(array, [(0, 0), (0, length - given)])
            else:
                array = np.take(array, np.arange(length) % given, axis=1)
        fitted[str(value.name)] = array.astype(value.dtype.numpy() if value.dtype else None)
    return fitted


MASK = "attention_mask"


def answer_all(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return the emulator's answers, outputs in the artifact's order."""
    import onnx

    from edgecompile.facts import TEXT_AXES

    model = onnx.load(artifact)
    graph = model.graph
    stated = {entry.key: entry.value for entry in model.metadata_props}
    axes: dict[str, int] = json.loads(stated.get(TEXT_AXES, "{}"))
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input}
    with scratch_folder() as scratch:
        place = scratch
        arrays = {
            f"{number:06}/{name}": _pad(name, feed, shape)
            for number, feed in enumerate(feeds)
            for name, shape in shapes.items()
        }
        np.savez(place / "feeds.npz", **arrays)  # type: ignore[arg-type]
        request = {
            "do": "run", "artifact": str(artifact.absolute()), "feeds": "feeds.npz",
            "answers": "answers.npz", "outputs": [v.name for v in graph.output],
        }  # fmt: skip
        _work(request, place, EMULATE_LIMIT_S)
        with np.load(place / "answers.npz", allow_pickle=False) as found:
            return [
                [
                    _cut(found[f"{number:06}/{value.name}"], axes.get(value.name), feed)
                    for value in graph.output
                ]
                for number, feed in enumerate(feeds)
            ]


def _pad(name: str, feed: "Feed", shape: Sequence[int]) -> "FloatArray":
    array = feed[name]
    if array.shape[:1] != tuple(shape[:1]) or any(
        n > s for n, s in zip(array.shape, shape, strict=True)
    ):
        msg = f"input '{name}' is {list(array.shape)}: the artifact takes {list(shape)}"
        raise DataError(msg)
    if list(array.shape) != list(shape) and MASK not in feed:
        msg = f"input '{name}' cannot be padded to {list(shape)}: the model has no {MASK}"
        raise DataError(msg)
    return np.pad(array, [(0, s - n) for n, s in zip(array.shape, shape, strict=True)])


def _cut(array: "FloatArray", axis: int | None, feed: "Feed") -> "FloatArray":
    """Return an output without what padding gave."""
    if axis is None:
        return array
    length = max(given.shape[1] for given in feed.values() if given.ndim == 2)
    return np.take(array, np.arange(length), axis=axis)


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact once, in the emulator."""
    del threads, one_pool
    return lambda feed: answer_all(artifact, [feed])[0]


def runtime_version() -> str:
    """Return the version of the runtime that the toolchain has, if this host can run it."""
    from edgecompile.toolchain.venv import read_toolchain, why_unfit

    tool = read_toolchain(TOOLCHAIN)
    if reason := why_unfit(tool):
        msg = f"toolchain {tool.name}: {reason}"
        raise ToolchainError(msg)
    return tool.version


def numbers(artifact: Path) -> list[dict[str, Any]]:
    """Return the profile's rows of what runs on the NPU: `write` has checked that all does."""
    import onnx

    nodes = [node.op_type for node in onnx.load(artifact).graph.node]
    share = nodes.count("EPContext") / len(nodes)
    how = "the artifact is one EPContext node, compiled with fallback to the CPU disabled"
    row = {"unit": "share", "kind": "measured", "how": how, "model": "artifact"}
    return [{"name": f"npu_share_{what}", "value": share, **row} for what in ("ops", "macs")]
