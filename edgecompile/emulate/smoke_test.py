"""Run a bundle's smoke.py as a board's CPU would: its answers count, its time means nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecompile.bundles.smoke_result import failure, read_result
from edgecompile.cpu import Cpu
from edgecompile.emulate.run import end_python
from edgecompile.emulate.userland import Userland
from edgecompile.errors import GateError, IllegalInstructionError, SmokeError
from edgecompile.scratch import scratch_folder

SMOKE, ONCE = "smoke.py", "--once"


def run_smoke_test(
    userland: Userland, cpu: Cpu, folder: Path, time_limit_s: float
) -> Mapping[str, Any]:
    """Return smoke.py's result for the bundle in `folder`, which is not written to.

    Raises GateError where the answers are wrong or an instruction is not the CPU's, SmokeError
    where it could not judge, EmulationError where it could not be run.
    """
    where = f"on an emulated {cpu.name}"
    if ONCE not in (folder / SMOKE).read_text(encoding="utf-8", errors="replace"):
        msg = (
            f"{folder / SMOKE} is of an older edgecompile: it cannot leave out latency; build anew"
        )
        raise SmokeError(msg)
    with scratch_folder() as scratch:
        result = scratch / "measured.json"
        command: list[str | Path] = [folder / SMOKE, ONCE, "--result", result]
        try:
            ended = end_python(userland, cpu, command, time_limit_s=time_limit_s)
        except IllegalInstructionError as error:
            msg = f"{where}: {error}"
            raise GateError(msg) from error
        if ended.status != 0:
            raise failure(where, ended.out, ended.err)
        return read_result(result, where)


def how(userland: Userland, cpu: Cpu, result: Mapping[str, Any]) -> str:
    """Say what emulates which CPU, as the manifest keeps it."""
    return f"{userland.qemu.name} {userland.qemu_version}, -cpu {cpu.core}; {result['runtime']}"
