"""Engine ethos_u: the encoder on Arm's NPU, tables before it and pooling behind it on the host.

The bundle holds, for each text length, ENCODER_n.tflite, which any TFLite runtime runs, the same
compiled by Vela for the target's accelerator, and C sources around that; EMBED and POOL hold what
the host does, with a signature for each length. A text is padded to the next length. Batch 1.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.emit import litert
from edgecompile.emit.litert import runtime_version
from edgecompile.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan
    from edgecompile.target import Target

__all__ = ["runtime_version"]

EMBED_FILE, POOL_FILE, ENCODER_FILE = "embed.tflite", "pool.tflite", "encoder_{}.tflite"
PACKAGE = "ai-edge-litert"
"""What pip installs: the reference kernels."""
ISAS = ("ethos-u",)
"""The NPU's own; the host's parts run wherever a TFLite runtime does."""
PROFILES = ("fast", "accurate")
"""Tried in this order, until the gate holds."""
ROUNDS_OUTPUTS = FIXED_SHAPES = ONLY_ROUNDED = True
"""Everything is rounded, so the plan knows the range of every tensor; lengths are fixed."""
TOOLCHAIN = "vela"
NO_LADDER = "nothing is more accurate on this NPU; lower the [gate]"
HOW = "the same integers in LiteRT's reference kernels on this host, texts padded to its lengths"
ONE_FILE_BYTES = 2_000_000_000


def observe(plan: "Plan", target: "Target", model: "ir.Model", feeds: "Iterable[Feed]") -> "Plan":
    """Return the plan with the range of every tensor."""
    from edgecompile.plan_tensors import plan_tensors

    del target
    return plan_tensors(model, plan, feeds)


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = ONE_FILE_BYTES,
) -> list[str]:
    """Write the parts; return the names of their files, the one to run first at the front."""
    from edgecompile.facts import LENGTHS
    from edgecompile.placement import EMBED, ENCODER, POOL, cut_part, fix_shapes
    from edgecompile.tflite import run_parts
    from edgecompile.tflite.flatbuffer import File
    from edgecompile.tflite.write_graph import ONLY, Sizes, sizes_of, write_graph

    stated = model.metadata_props.get(LENGTHS, "")
    every = sizes_of(model, [int(number) for number in stated.split(",") if number])
    about = json.dumps(dict(metadata), sort_keys=True).encode()

    def save(file: File, name: str) -> str:
        file.add_metadata("edgecompile", about)
        (folder / name).write_bytes(file.data(f"edgecompile: {model.graph.name}"))
        return name

    names = []
    for part, name in ((EMBED, EMBED_FILE), (POOL, POOL_FILE)):
        file, cut = File(one_file_bytes), cut_part(model, part)
        for sizes in every:
            write_graph(file, cut, sizes)
        names.append(save(file, name))
    encoder = cut_part(model, ENCODER)
    for sizes in every:
        file = File(one_file_bytes)
        write_graph(file, fix_shapes(encoder, sizes.of), Sizes({}, ONLY))
        names.append(save(file, ENCODER_FILE.format(sizes.key.removeprefix("tokens_"))))
    program = Path(run_parts.__file__)
    shutil.copyfile(program, folder / program.name)
    return [*names, program.name]


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs the parts of an artifact one after the other."""
    from edgecompile.tflite.run_parts import FeedError, open_parts

    del one_pool
    opened = open_parts(litert.module(), artifact.parent, threads or 1)

    def run(feed: "Feed") -> "list[FloatArray]":
        try:
            return list(opened(feed).values())
        except FeedError as error:
            raise DataError(str(error)) from error

    return run


def finish(
    names: list[str], board: "Target", folder: Path, say: "Callable[[str, str], None]"
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Compile the encoders; return all files, rows for the profile, a table for the manifest."""
    from edgecompile.vela.finish_bundle import finish_bundle

    return finish_bundle(names, board, folder, say)
