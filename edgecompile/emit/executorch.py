"""Engine executorch: lowered graph -> one .pte of XNNPACK, and its own runtime to execute it.

Linears are int8 by int8, rows of what comes in rounded at run time; tables are int8. The compiler
and the runtime are in an environment with torch, apart from this one. Batch 1, any length up to
the longest of [shapes] sequence.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.errors import ToolchainError
from edgecompile.scratch import scratch_folder
from edgecompile.toolchain.ask import FEEDS, ask, read_answers, write_feeds

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.target import Target

ARTIFACT = "model.pte"
TOOLCHAIN = "executorch"
PACKAGE = "executorch"
"""What pip installs where there is a Python; an app links its libraries."""
ISAS = ("x86_64", "aarch64")
"""Machines that its wheels are for."""
FIXED_SHAPES = ONE_LENGTH = True
"""Memory is planned for the longest text; shorter ones are computed as they are."""
HOW = "the artifact executed by ExecuTorch's own runtime on this host's CPU (XNNPACK)"
ACCURACY_KIND = "measured"
WRITE_LIMIT_S, RUN_LIMIT_S = 1800.0, 1800.0
MEMORY_LIMIT_BYTES = 64 << 30
"""Of address space: torch reserves more than it uses."""
NO_FORM = "has no ExecuTorch form"
"""What the worker says of an operator that it does not know."""
LINEAR, ROUNDED = "aten.linear.default", "quantized_decomposed.dequantize_per_channel.default"
METADATA, INPUTS = "edgecompile", "edgecompile.inputs"
"""The method that tells what the artifact says of itself; inputs and their types, in order."""
READERS = ("MatMul", "Gather")
"""What reads weights that are rounded."""
HERE = Path(__file__).parents[1] / "executorch"
WRITE_WORKER, RUN_WORKER = HERE / "write_worker.py", HERE / "run_worker.py"


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = 0,
) -> list[str]:
    """Write the artifact; return its name.

    Raises UnsupportedError where an operator has no form, ToolchainError where XNNPACK did not
    take every Linear in the precision that it was given.
    """
    from edgecompile.facts import LENGTHS
    from edgecompile.toolchain.graph_file import refusals_named, write_graph

    del one_file_bytes
    types = {str(v.name): v.dtype.numpy().name for v in model.graph.inputs if v.dtype is not None}
    names = [str(value.name) for value in model.graph.outputs]
    about = {**metadata, INPUTS: json.dumps(types), "edgecompile.outputs": json.dumps(names)}
    weights = _weights(model)
    about["edgecompile.weights"] = json.dumps(weights)
    longest = int(model.metadata_props.get(LENGTHS) or 0)
    about["edgecompile.longest"] = str(longest)
    with scratch_folder() as place:
        write_graph(model, place)
        request = {"program": ARTIFACT, "metadata": about, "longest": longest}
        with refusals_named("executorch", NO_FORM):
            told = ask(
                TOOLCHAIN,
                WRITE_WORKER,
                request,
                place,
                time_limit_s=WRITE_LIMIT_S,
                memory_limit_bytes=MEMORY_LIMIT_BYTES,
            )
        _check(place / ARTIFACT, told, weights["linears"])
        shutil.copyfile(place / ARTIFACT, folder / ARTIFACT)
    return [ARTIFACT]


def _weights(model: "ir.Model") -> dict[str, Any]:
    """Return Linears (name, [in, out], whether the weight is int8), tables, bytes by type."""
    linears, tables, sizes = [], [], dict[str, int]()
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            kind = value.const_value.dtype.name.lower()
            sizes[kind] = sizes.get(kind, 0) + value.const_value.nbytes
    for node in model.graph:
        weight = node.inputs[node.op_type == "MatMul"] if node.op_type in READERS else None
        maker = weight.producer() if weight is not None else None
        rounded = maker is not None and maker.op_type == "DequantizeLinear"
        if weight is None or not (rounded or weight.is_initializer()):
            continue
        shape = [size for size in weight.shape or () if isinstance(size, int)]
        if len(shape) == 2 and node.op_type == "MatMul":
            name = str(weight.name).removesuffix(".weight").removesuffix(".weight")
            linears.append({"name": name, "shape": shape, "rounded": rounded})
        elif rounded:
            tables.append({"name": str(weight.name), "shape": shape, "format": "int8"})
    return {"linears": linears, "tables": tables, "bytes": sizes}


def _check(program: Path, told: Mapping[str, Any], linears: Sequence[Mapping[str, Any]]) -> None:
    """Trust nothing but what was delegated: each Linear is XNNPACK's, int8 where it is to be."""
    inside = told["delegated"]
    for what, operator, wanted in (
        ("Linears", LINEAR, len(linears)),
        ("int8 weights", ROUNDED, sum(bool(linear["rounded"]) for linear in linears)),
    ):
        if inside.get(operator, 0) != wanted:
            msg = f"executorch: XNNPACK took {inside.get(operator, 0)} of {wanted} {what}"
            raise ToolchainError(msg)
    if not program.is_file() or not program.stat().st_size:
        msg = f"executorch: the compiler wrote no {ARTIFACT}"
        raise ToolchainError(msg)


def execute(
    artifact: Path, feeds: "Sequence[Feed]", repeats: int = 0, threads: int = 0
) -> dict[str, Any]:
    """Run feeds in turn; return "answers", what the artifact says of itself, "times_ms".

    Each feed is run `repeats` times more, which are timed; 0 threads = ExecuTorch's own choice.
    """
    with scratch_folder() as place:
        write_feeds(feeds, place)
        request = {
            "program": str(artifact.absolute()), "feeds": FEEDS if feeds else "",
            "repeats": repeats, "threads": threads,
        }  # fmt: skip
        told: dict[str, Any] = ask(
            TOOLCHAIN,
            RUN_WORKER,
            request,
            place,
            time_limit_s=RUN_LIMIT_S,
            memory_limit_bytes=MEMORY_LIMIT_BYTES,
        )
        answers = read_answers(place) if feeds else []
        return {**told, "answers": [list(row.values()) for row in answers]}


def answer_all(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return what the artifact answers to each feed."""
    answers: list[list[FloatArray]] = execute(artifact, feeds)["answers"]
    return answers


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact once, in a process of its own."""
    del one_pool
    return lambda feed: execute(artifact, [feed], threads=threads)["answers"][0]


def describe(artifact: Path) -> dict[str, Any]:
    """Return what a program holds: calls of XNNPACK, kernels of ExecuTorch's own, metadata."""
    return execute(artifact, [])


def finish(
    names: list[str], board: "Target", folder: Path, say: "Callable[[str, str], None]"
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Return the files, and what XNNPACK took of the program for the manifest."""
    del board, say
    found = describe(folder / names[0])
    return names, [], {"xnnpack_calls": found["calls"], "kernels": found["kernels"]}
