"""Engine esp_dl: lowered graph -> an .espdl file for ESP-DL, by esp-ppq, which simulates the chip.

The bundle holds ENCODER as esp-ppq reads it, with rounded weights and all ranges, from which the
simulation is made anew; EMBED, the tables that the firmware looks up; and the .espdl file.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.errors import ToolchainError
from edgecompile.scratch import scratch_folder
from edgecompile.toolchain.ask import ANSWERS, FEEDS, ask, read_answers, write_feeds

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan
    from edgecompile.target import Target

ARTIFACT, ENCODER_FILE, EMBED_FILE = "model.espdl", "encoder.onnx", "embed.onnx"
TOOLCHAIN = "esp_ppq"
PACKAGE = "esp-ppq"
"""What pip installs where smoke.py simulates; on the chip, ESP-DL is a component of the firmware.
"""
ISAS = ("riscv32", "xtensa")
NO_LADDER = "nothing is more accurate on this chip; lower the [gate]"
ONLY_ROUNDED = ROUNDS_OUTPUTS = FIXED_SHAPES = ONE_LENGTH = True
HOW = "esp-ppq's simulation of the chip on this host, texts padded"
JUDGES = 32
"""Golden samples that judge: the simulation takes a second for each."""
COMPILE_LIMIT_S, SIMULATE_LIMIT_S = 1800.0, 3600.0
MEMORY_LIMIT_BYTES = 24 << 30
BAD_LINES = ("will cause an exception", "[ERROR]")
"""What esp-ppq logs of a file that it writes all the same."""
HERE = Path(__file__).parent
WORKER, SIMULATION = HERE / "toolchain" / "esp_ppq_worker.py", HERE / "simulate.py"


def observe(plan: "Plan", target: "Target", model: "ir.Model", feeds: "Iterable[Feed]") -> "Plan":
    """Return the plan with the range of every tensor of this engine's float form.

    That of the chip with the most tensors: all chips of a build share what is observed.
    """
    from edgecompile.emit import qnn
    from edgecompile_esp.lower.split_columns import ONE_SCALE

    return qnn.observe(plan, replace(target, chip=(ONE_SCALE,)), model, feeds)


def write(
    model: "ir.Model", folder: Path, metadata: Mapping[str, str], one_file_bytes: int = 0
) -> list[str]:
    """Let esp-ppq write the artifact; return the names of all files, that one first.

    Raises ToolchainError where esp-ppq fails, or its file is not what it should be.
    """
    from edgecompile.facts import CHIP, TEXT_AXES
    from edgecompile.placement import EMBED, ENCODER, cut_part
    from edgecompile.toolchain.worker import LOG
    from edgecompile_esp.lower.state_ranges import RANGES

    del one_file_bytes
    kept = {key: model.metadata_props[key] for key in (CHIP, RANGES, TEXT_AXES)}
    with scratch_folder() as place:
        names = [ENCODER_FILE, SIMULATION.name]
        _save(cut_part(model, ENCODER), place / ENCODER_FILE, {**metadata, **kept})
        embed = cut_part(model, EMBED)
        if len(embed.graph):
            _save(embed, place / EMBED_FILE, metadata)
            names.append(EMBED_FILE)
        shutil.copyfile(SIMULATION, place / SIMULATION.name)
        request = {"do": "compile", "folder": ".", "artifact": ARTIFACT}
        _check(_work(request, place, COMPILE_LIMIT_S), (place / LOG).read_text(errors="replace"))
        for name in (ARTIFACT, *names):
            shutil.copyfile(place / name, folder / name)
    return [ARTIFACT, *names]


def _save(part: "ir.Model", path: Path, metadata: Mapping[str, str]) -> None:
    """Write a part without what it does not read, and without notes of passes."""
    import onnx_ir as ir

    graph = part.graph
    read = {value for node in graph for value in node.inputs}
    for name in [n for n, value in graph.initializers.items() if value not in read]:
        graph.initializers.pop(name)
    part.metadata_props.clear()
    part.metadata_props.update(metadata)
    ir.save(part, path)


def _check(told: Mapping[str, Any], log: str) -> None:
    """Trust nothing but the artifact: its operators, its weights; and the log."""
    if not told["nodes"] or not told["same_weights"]:
        msg = f"esp-ppq: {ARTIFACT} does not hold the weights that were simulated"
        raise ToolchainError(msg)
    for line in log.splitlines():
        if any(bad in line for bad in BAD_LINES):
            msg = f"esp-ppq: its log says: {line.strip()[:300]}"
            raise ToolchainError(msg)


def answer_all(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return the simulation's answers, outputs in the artifact's order."""
    import onnx

    graph = onnx.load(artifact.parent / ENCODER_FILE).graph
    with scratch_folder() as place:
        write_feeds(feeds, place)
        request = {
            "do": "run", "folder": str(artifact.parent.absolute()), "feeds": FEEDS,
            "answers": ANSWERS,
        }  # fmt: skip
        _work(request, place, SIMULATE_LIMIT_S)
        return [[row[value.name] for value in graph.output] for row in read_answers(place)]


def _work(request: Mapping[str, Any], place: Path, time_limit_s: float) -> Any:
    return ask(
        TOOLCHAIN,
        WORKER,
        request,
        place,
        time_limit_s=time_limit_s,
        memory_limit_bytes=MEMORY_LIMIT_BYTES,
    )


def finish(
    names: list[str], board: "Target", folder: Path, say: Callable[[str, str], None]
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Say how large the artifact is on the chip: without what is there for the simulation."""
    del board, say
    sizes = [(folder / name).stat().st_size for name in (ARTIFACT, EMBED_FILE) if name in names]
    row = {"name": "size", "value": sum(sizes), "unit": "bytes", "kind": "measured"}
    how = f"{ARTIFACT}, and {EMBED_FILE} with the tables that the firmware looks up"
    return names, [{**row, "how": how, "model": "artifact"}], {}


def inspect(artifact: Path) -> dict[str, Any]:
    """Return what an artifact holds: what esp-ppq was given, of which it holds the very integers.

    Raises ModelError where one of its files cannot be read.
    """
    from edgecompile.inspect_file import inspect_file

    parts = [artifact.parent / name for name in (ENCODER_FILE, EMBED_FILE)]
    found = [inspect_file(part, widths=False) for part in parts if part.is_file()]
    sizes: dict[str, int] = {}
    for part in found:
        for kind, size in part["bytes_by_format"].items():
            sizes[kind] = sizes.get(kind, 0) + size
    return {
        "file": str(artifact),
        "size_bytes": artifact.stat().st_size,
        "opset": found[0]["opset"],
        "ir_version": found[0]["ir_version"],
        "widths": [],
        "bytes_by_format": sizes,
        "operators": found[0]["operators"],
        "embeddings": [row for part in found for row in part["embeddings"]],
        "linears": _linears(parts[0]),
    }


def _linears(encoder: Path) -> list[dict[str, Any]]:
    """Return a row for each Linear of an encoder."""
    import onnx_ir as ir

    from edgecompile.graph import present, sizes
    from edgecompile_esp.lower.round_weights import WEIGHT

    rows = []
    for node in (n for n in ir.load(encoder).graph if n.op_type == "DequantizeLinear"):
        shape = sizes(present(node.inputs[0]))
        name = str(node.name).removesuffix(WEIGHT)
        kind = "int8 weight, int16 activation, int16 output"
        rows.append({"name": name, "shape": shape, "format": kind, "why": ""})
    return rows
