"""A .tflite file of integers -> the same with the NPU's command stream, and what Vela says of it.

Vela's exit status proves nothing: it hands on what it cannot compile, with status 0. So the
artifact is read: what is left beside the NPU's operators runs on the CPU.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgecompile.errors import ToolchainError, UnsupportedError
from edgecompile.files import sha256
from edgecompile.scratch import scratch_folder
from edgecompile.target import Target
from edgecompile.vela.read_operators import Operator, npu_share, read_operators

TOOLCHAIN = "vela"
ACCELERATOR = "accelerator-config"
TIME_LIMIT_S, MEMORY_LIMIT_BYTES = 600, 8 << 30
WORKER = Path(__file__).parent / "worker.py"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A file for the NPU: `figures` are Vela's, `left` are the operators that the CPU runs."""

    file: Path
    version: str
    figures: Mapping[str, str]
    operators: int
    left: tuple[Operator, ...]
    ops_share: float
    macs_share: float


def compile_encoder(
    model: Path, board: Target, folder: Path, say: Callable[[str, str], None]
) -> Compiled:
    """Compile for a target's accelerator; the file goes into `folder`.

    It is compiled twice: the same bytes must come. Raises ToolchainError, and UnsupportedError
    where the NPU was given nothing.
    """
    from edgecompile.toolchain.venv import open_venv

    python = open_venv(TOOLCHAIN, say)
    with scratch_folder() as scratch:
        first, second = (_run(python, model, board, scratch / n) for n in ("1", "2"))
        if sha256(first[0]) != sha256(second[0]):
            msg = f"vela: {model.name} compiled twice is not the same file twice"
            raise ToolchainError(msg)
        file = folder / first[0].name
        shutil.copyfile(first[0], file)
    before, after = read_operators(model), read_operators(file)
    left = tuple(operator for operator in after if not operator.on_npu)
    ops_share, macs_share = npu_share(before, after)
    if not any(operator.on_npu for operator in after):
        msg = f"vela: none of the {len(before)} operators of {model.name} runs on {board.name}"
        raise UnsupportedError(msg)
    return Compiled(file, first[1], first[2], len(before), left, ops_share, macs_share)


def _run(
    python: Path, model: Path, board: Target, folder: Path
) -> tuple[Path, str, Mapping[str, str]]:
    from edgecompile.toolchain.worker import run_worker

    folder.mkdir()
    shutil.copyfile(model, folder / model.name)
    request = {"model": model.name, "output": ".", "options": list(board.chip)}
    answer = run_worker(
        python,
        WORKER,
        request,
        folder,
        time_limit_s=TIME_LIMIT_S,
        memory_limit_bytes=MEMORY_LIMIT_BYTES,
    )
    made = folder / answer["output"]
    if not made.is_file() or not made.stat().st_size:
        msg = f"vela: no output for {model.name}, though it reported success"
        raise ToolchainError(msg)
    return made, str(answer["version"]), answer["figures"]
