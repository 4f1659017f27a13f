"""Engine qnn: lowered graph -> a context binary of Qualcomm's HTP, and the x86 emulator to run it.

The artifact is an .onnx file of exactly one EPContext node, with the binary beside it: no operator
is left to a CPU. onnxruntime-qnn compiles and emulates, in an environment of its own.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.errors import ToolchainError, UnsupportedError, WorkerError
from edgecompile.scratch import scratch_folder

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan
    from edgecompile.target import Target

ARTIFACT, BINARY = "model.onnx", "model.onnx.bin"
"""The context, and its binary. TABLES stands beside them where the host has the tables."""
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
COMPILE_LIMIT_S = 900.0
HOST_OPS, NPU_OPS = "edgecompile.host_ops", "edgecompile.npu_ops"
"""Keys of the artifact's metadata: how many operators run where."""
BAD_LINES = ("falling back to CPU", "backendValidateOpConfig", "libQnnCpu.so")
"""What its log says where all seems well and is not."""
MOST_NAMED = 4
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
    from edgecompile.chip import chip_of
    from edgecompile.emit import onnxruntime
    from edgecompile.facts import TEXT_AXES
    from edgecompile.placement import EMBED, ENCODER, cut_part, place_of
    from edgecompile.qualcomm.answer_feeds import TABLES, work
    from edgecompile.toolchain.worker import LOG

    del one_file_bytes
    split = any(place_of(node) == ENCODER for node in model.graph)  # else it is another tool's
    inner = cut_part(model, ENCODER) if split else model
    hosted, names = len(model.graph) - len(inner.graph), [ARTIFACT, BINARY]
    with scratch_folder() as place:
        (source, *_) = onnxruntime.write(inner, place, {})
        (place / "out").mkdir()
        request = {
            "do": "compile", "model": source, "artifact": f"out/{ARTIFACT}", "chip": chip_of(model),
        }  # fmt: skip
        try:
            work(request, place, COMPILE_LIMIT_S)
        except WorkerError as error:
            if REFUSED in str(error):
                raise UnsupportedError(_refusal(request, place)) from error
            raise
        _check(place / "out", (place / LOG).read_text(encoding="utf-8", errors="replace"))
        axes = {TEXT_AXES: model.metadata_props.get(TEXT_AXES, "{}")}
        counts = {HOST_OPS: str(hosted), NPU_OPS: str(_operators(inner))}
        _label(place / "out" / ARTIFACT, {**metadata, **axes, **counts})
        shutil.copyfile(place / "out" / ARTIFACT, folder / ARTIFACT)
        shutil.copyfile(place / "out" / COMPILED, folder / BINARY)
        if hosted:
            (made, *_) = onnxruntime.write(cut_part(model, EMBED), place, {})
            shutil.copyfile(place / made, folder / TABLES)
            names.append(TABLES)
    return names


def _operators(model: "ir.Model") -> int:
    """Return how many operators a graph has, besides those that only round."""
    rounding = ("QuantizeLinear", "DequantizeLinear")
    return sum(node.op_type not in rounding for node in model.graph)


def _refusal(request: Mapping[str, Any], place: Path) -> str:
    """Name what the HTP does not take: what another compilation leaves beside its contexts."""
    import onnx

    from edgecompile.qualcomm.answer_feeds import work

    loose = {**request, "strict": False, "artifact": "loose.onnx"}
    work(loose, place, COMPILE_LIMIT_S)
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
    from edgecompile.data.fit_feed import fit_feed
    from edgecompile.quantize.observe_tensors import observe_tensors
    from edgecompile.stages import lower

    lowered = lower(model, plan, target)
    length = max(target.lengths)
    return observe_tensors(lowered, plan, (fit_feed(feed, lowered, length) for feed in feeds))


def answer_all(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return the emulator's answers, outputs in the artifact's order."""
    from edgecompile.qualcomm.answer_feeds import answer_feeds

    return answer_feeds(artifact, feeds)


def numbers(artifact: Path) -> list[dict[str, Any]]:
    """Return the profile's rows of what runs on the NPU: `write` has checked that all of it does.

    Lookups multiply nothing.
    """
    import onnx

    stated = {entry.key: int(entry.value) for entry in onnx.load(artifact).metadata_props
              if entry.key in (HOST_OPS, NPU_OPS)}  # fmt: skip
    shares = {"ops": stated[NPU_OPS] / (stated[NPU_OPS] + stated[HOST_OPS]), "macs": 1.0}
    how = "one EPContext node, compiled with fallback to the CPU disabled; tables by the host apart"
    row = {"unit": "share", "kind": "measured", "how": how, "model": "artifact"}
    return [{"name": f"npu_share_{what}", "value": share, **row} for what, share in shares.items()]
