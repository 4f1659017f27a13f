"""Judge an artifact on the CPU of its board, emulated, by the smoke test that goes with it.

Other CPUs have other int8 kernels, and round otherwise: this host's answers are not the board's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.engines import engine
from edgecompile.errors import EmulationError, GateError, SmokeError
from edgecompile.host import Host
from edgecompile.host import why_not as why_not_here
from edgecompile.scratch import scratch_folder
from edgecompile.target import Target

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.emulate.userland import Say
    from edgecompile.evaluate.accuracy import Accuracy
    from edgecompile.evaluate.emulated import Emulated
    from edgecompile.graph import FloatArray

ARCHITECTURE = {"aarch64": "aarch64", "armv7l": "armhf"}
"""Which userland runs a target's ISA."""
SAMPLES = 8
"""The first of the golden samples: qemu is some 100 times slower."""
TIME_LIMIT_S = 1800


def why_not(host: Host, target: Target, wish: str) -> str | None:
    """Return why an artifact is not judged on its emulated board here, or None if it is.

    `wish` is [evaluate] emulate. "auto" takes what is set up, and downloads nothing.
    """
    from edgecompile.emulate.userland import is_set_up

    if target.cpu is None or target.isa not in ARCHITECTURE:
        return f"{target.name}'s file has no table [cpu] to emulate"
    if why_not_here(host, target) is None:
        return f"this host runs {target.name}'s artifacts itself"
    if wish == "never":
        return "[evaluate] emulate is 'never'"
    if wish == "auto" and not is_set_up(ARCHITECTURE[target.isa]):
        return "no emulated boards are set up here: `edgecompile build --emulate` does it, once"
    return None


def judge_on_board(
    target: Target,
    files: Sequence[Path],
    samples: "tuple[Sequence[str], Sequence[Feed], Sequence[Sequence[FloatArray]]]",
    here: "Accuracy",
    say: "Say",
) -> "Emulated":
    """Judge an artifact, its files with the one to load first, by samples on the emulated board.

    `samples` are names of outputs, inputs and the float model's answers; `here` is what they give
    on this host. Raises GateError where smoke.py would fail there, EmulationError where it cannot
    be run here.
    """
    from edgecompile.bundles.smoke_result import accuracy_of
    from edgecompile.emulate.smoke_test import how, run_smoke_test
    from edgecompile.emulate.userland import open_userland
    from edgecompile.evaluate.emulated import Emulated

    if target.cpu is None:
        msg = f"{target.name}'s file has no table [cpu]"
        raise EmulationError(msg)
    userland = open_userland(ARCHITECTURE[target.isa], say)
    with scratch_folder() as scratch:
        folder = scratch
        _write_bundle(folder, target, files, samples, here)
        try:
            result = run_smoke_test(userland, target.cpu, folder, TIME_LIMIT_S)
        except GateError as error:
            msg = f"{target.name}: {error}; no {target.name} bundle was written"
            raise GateError(msg) from error
        except SmokeError as error:
            raise EmulationError(str(error)) from error
    on = f"on a {target.cpu.name}"
    return Emulated(accuracy_of(result), here, how(userland, target.cpu, result), on)


def _write_bundle(
    folder: Path,
    target: Target,
    files: Sequence[Path],
    samples: "tuple[Sequence[str], Sequence[Feed], Sequence[Sequence[FloatArray]]]",
    here: "Accuracy",
) -> None:
    """Write what smoke.py needs of a bundle; the artifact is linked."""
    from edgecompile.emit import bundle
    from edgecompile.files import sha256, write_json

    for file in files:
        (folder / file.name).symlink_to(file.absolute())
    names = [file.name for file in files]
    names.append(bundle.write_golden(folder, *samples))
    names += bundle.write_smoke_test(folder, target.engine)
    manifest = {
        "target": target.name,
        "engine": target.engine,
        "runtime": target.runtime,
        "built_with": f"{target.engine} {engine(target.engine).runtime_version()}",
        "artifact": files[0].name,
        "accuracy": {"metric": here.metric},
        "golden": {"file": bundle.GOLDEN, "mean": here.mean, "signal": here.signal},
        "files": {name: sha256(folder / name) for name in names},
    }
    write_json(folder / bundle.MANIFEST, manifest)
