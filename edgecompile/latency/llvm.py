"""llvm-mc and llvm-mca of LLVM 19: on PATH, or fetched once from Debian into the user's cache.

Only that version: the bounds that the boards' factors were fitted to are of its pipeline models.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.cache_folder import cache_folder
from edgecompile.toolchain.call import call
from edgecompile.toolchain.debian import fetch_debs, host_architecture
from edgecompile.toolchain.once import once

VERSION = 19
PACKAGE = f"llvm-{VERSION}"
FOLDERS = (f"/usr/lib/llvm-{VERSION}/bin", f"/usr/local/opt/llvm@{VERSION}/bin")
FEATURES = "+v8.2a,+dotprod,+fullfp16,+i8mm,+bf16,+rcpc"
"""What may have been executed; a CPU without one of them has executed none of its instructions."""
TIME_LIMIT_S = 300

Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Llvm:
    """The folder of its programs, and what they need as LD_LIBRARY_PATH."""

    programs: Path
    libraries: str = ""

    def disassemble(self, words: Sequence[str]) -> dict[str, str]:
        """Return the text of A64 instructions, "2f00e400" and the like; unknown ones are left out.

        The same texts are what the assembler reads, but for targets of branches.
        """
        lines = ["".join(f" 0x{w[i : i + 2]}" for i in (6, 4, 2, 0)) for w in words]
        found = {}
        text = self._call("llvm-mc", ["--disassemble", "--show-encoding"], lines)
        for line in text.splitlines():
            shown, mark, encoding = line.partition("// encoding: [")
            if mark:
                octets = encoding.rstrip("] ").split(",")
                found["".join(o.removeprefix("0x") for o in reversed(octets))] = shown.strip()
        return found

    def bound(self, scheduler: str, blocks: Sequence[Sequence[str]]) -> dict[int, float]:
        """Return cycles of each block, by number, if only its resources bound it: RThroughput.

        A block that the model does not know is left out.
        """
        lines = []
        for number, block in enumerate(blocks):
            lines += [f"# LLVM-MCA-BEGIN {number}", *block, "# LLVM-MCA-END"]
        asked = [
            f"-mcpu={scheduler}",
            "-iterations=1",
            "-json",
            "-skip-unsupported-instructions=any",
        ]
        told = json.loads(self._call("llvm-mca", asked, lines))
        rows: list[dict[str, Any]] = told["CodeRegions"]
        return {int(r["Name"]): float(r["SummaryView"]["BlockRThroughput"]) for r in rows}

    def _call(self, name: str, options: Sequence[str], lines: Sequence[str]) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".s") as file:
            file.write("\n".join([*lines, ""]))
            file.flush()
            command: list[str | Path] = [
                self.programs / name,
                "-mattr=" + FEATURES,
                *options,
                file.name,
            ]
            command[1:1] = ["-triple=aarch64"] if name == "llvm-mc" else ["-mtriple=aarch64"]
            environment = {"PATH": os.defpath, "LD_LIBRARY_PATH": self.libraries}
            return call(command, TIME_LIMIT_S, environment, marks=["error"], codes=(0, 1))


def open_llvm(say: Say = lambda _stage, _what: None) -> Llvm:
    """Return LLVM 19's programs; the first time, fetch them (45 MB) and say so.

    Raises FetchError with the reason where this host cannot.
    """
    for folder in FOLDERS:
        if all((Path(folder) / name).is_file() for name in ("llvm-mc", "llvm-mca")):
            return Llvm(Path(folder))
    if found := shutil.which(f"llvm-mca-{VERSION}"):
        return Llvm(Path(found).resolve().parent)

    def make(scratch: Path) -> None:
        say("emulate", "fetching llvm-mca into the cache, once (about 45 MB)")
        debs = fetch_debs(host_architecture(), [PACKAGE], scratch / "root", on_host=True)
        say("emulate", f"fetched llvm-mca: {sum(deb.bytes for deb in debs) / 1e6:.1f} MB")

    root = once(cache_folder() / PACKAGE, make) / "root"
    libraries = ":".join(str(path) for path in sorted(root.glob("usr/lib/*-linux-gnu*")))
    return Llvm(root / f"usr/lib/{PACKAGE}/bin", libraries)
