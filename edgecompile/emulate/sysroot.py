"""What a program sees of a board: the userland's files, and the board's /proc/cpuinfo and /sys.

Runtimes choose their kernels by these files. qemu-user maps each path that a program opens to the
same path below its -L folder, if it is there, else to the host's own: without them, onnxruntime
reads the host's x86 cpuinfo and ends in a crash.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from edgecompile.cpu import Cpu
from edgecompile.emulate.userland import Userland
from edgecompile.toolchain.once import once

SYS = "sys/devices/system/cpu"


def board_sysroot(userland: Userland, cpu: Cpu) -> Path:
    """Return a folder for qemu's -L; made once for each CPU, beside the userland."""
    key = hashlib.sha256(repr(cpu).encode()).hexdigest()[:12]

    def make(scratch: Path) -> None:
        for path in userland.root.iterdir():
            if path.is_dir():
                (scratch / path.name).symlink_to(path)
        for name, text in _files(userland, cpu):
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_text(f"{text}\n", encoding="ascii")

    return once(userland.folder.with_name(f"{userland.folder.name}-{cpu.name}-{key}"), make)


def _files(userland: Userland, cpu: Cpu) -> Iterator[tuple[str, str]]:
    """Give each file's name and text."""
    every = f"0-{cpu.cores - 1}" if cpu.cores > 1 else "0"
    yield "proc/cpuinfo", "\n".join(_cpuinfo(userland, cpu, n) for n in range(cpu.cores))
    for name in ("possible", "present", "online"):
        yield f"{SYS}/{name}", every
    yield f"{SYS}/kernel_max", str(cpu.cores - 1)
    for number in range(cpu.cores):
        yield from _core_files(cpu, f"{SYS}/cpu{number}", str(number), every)


def _cpuinfo(userland: Userland, cpu: Cpu, number: int) -> str:
    """Return one processor's paragraph, as Linux on ARM writes it."""
    wide = userland.architecture == "aarch64"
    lines = {
        "processor": number,
        **({} if wide else {"model name": f"ARMv7 Processor rev {cpu.revision} (v7l)"}),
        "BogoMIPS": "108.00",
        "Features": " ".join(cpu.features),
        "CPU implementer": cpu.implementer,
        "CPU architecture": 8 if wide else 7,
        "CPU variant": cpu.variant,
        "CPU part": cpu.part,
        "CPU revision": cpu.revision,
    }
    return "".join(f"{key}\t: {value}\n" for key, value in lines.items())


def _core_files(cpu: Cpu, folder: str, own: str, every: str) -> Iterator[tuple[str, str]]:
    """Give a core's files below /sys: clock in kHz, topology, caches in KiB."""
    yield f"{folder}/cpufreq/cpuinfo_max_freq", str(cpu.clock_hz // 1000)
    yield f"{folder}/cpufreq/cpuinfo_min_freq", str(cpu.clock_hz // 4000)
    for name in ("core_id", "core_cpus_list", "thread_siblings_list"):
        yield f"{folder}/topology/{name}", own
    for name in ("physical_package_id", "cluster_id"):
        yield f"{folder}/topology/{name}", "0"
    for name in ("cluster_cpus_list", "core_siblings_list", "package_cpus_list"):
        yield f"{folder}/topology/{name}", every
    caches = [(1, "Data", cpu.l1d_bytes, own), (1, "Instruction", cpu.l1i_bytes, own)]
    caches += [(2, "Unified", cpu.l2_bytes, own if cpu.l3_bytes else every)]
    caches += [(3, "Unified", cpu.l3_bytes, every)] if cpu.l3_bytes else []
    for index, (level, kind, size, shared) in enumerate(caches):
        values = {"level": level, "type": kind, "size": f"{size // 1024}K"}
        for name, value in (values | {"shared_cpu_list": shared}).items():
            yield f"{folder}/cache/index{index}/{name}", str(value)
