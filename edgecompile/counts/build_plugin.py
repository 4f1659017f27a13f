"""Compile the counting plugin for a version of qemu, once, with this host's C compiler."""

import hashlib
import os
import shlex
import shutil
from pathlib import Path

from edgecompile.cache_folder import cache_folder
from edgecompile.errors import EmulationError, FetchError
from edgecompile.target import version
from edgecompile.toolchain.call import call
from edgecompile.toolchain.once import once

COMPILERS = ("cc", "gcc", "clang")
OPTIONS = ("-O2", "-Wall", "-shared", "-fPIC")
TIME_LIMIT_S = 120
INTERFACES = (((9, 1), 3), ((9, 0), 2), ((4, 2), 1))
"""The oldest version of qemu for each interface of its plugins that ours is written for."""


def build_plugin(qemu_version: str) -> Path:
    """Return the plugin as a shared object; compiled where the cache has none for this source.

    Raises EmulationError: no C compiler, or one that fails; a qemu whose plugins are others.
    """
    interface = _interface(qemu_version)
    compiler = compiler_of()
    folder = Path(__file__).parent
    texts = [(folder / name).read_text(encoding="utf-8") for name in ("plugin.c", "aarch64.h")]
    asked = [*compiler, *OPTIONS, f"-DQEMU_API={interface}"]
    digest = hashlib.sha256("\0".join([*asked, *texts]).encode()).hexdigest()[:12]

    def make(scratch: Path) -> None:
        call([*asked, folder / "plugin.c", "-o", scratch / "counts.so"], TIME_LIMIT_S,
             marks=[str(folder)])  # fmt: skip

    try:
        return once(cache_folder() / f"plugin-{digest}", make) / "counts.so"
    except FetchError as error:
        msg = f"no instructions are counted: qemu's plugin was not compiled: {error}"
        raise EmulationError(msg) from error


def _interface(qemu_version: str) -> int:
    for oldest, interface in INTERFACES:
        if version(qemu_version) >= oldest:
            return interface
    msg = f"no instructions are counted: qemu {qemu_version} has no plugins; 4.2 and newer have"
    raise EmulationError(msg)


def compiler_of() -> list[str]:
    """Return $CC, or the first C compiler on PATH."""
    given = shlex.split(os.environ.get("CC", ""))
    found = [shutil.which(name) for name in (given[:1] or COMPILERS)]
    for path in found:
        if path:
            return [path, *given[1:]]
    msg = "no instructions are counted: there is no C compiler here: apt install gcc, or set CC"
    raise EmulationError(msg)
