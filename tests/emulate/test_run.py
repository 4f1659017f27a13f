"""A program runs as a board's CPU would run it: its files, its features, its instructions."""

from dataclasses import replace

import pytest

from edgecompile import target
from edgecompile.cpu import Cpu
from edgecompile.emulate.run import run_python
from edgecompile.emulate.userland import Userland
from edgecompile.errors import EmulationError, IllegalInstructionError

pytestmark = pytest.mark.slow

BOARDS = [
    name for name in target.names()
    if target.load(name).cpu is not None and target.load(name).isa == "aarch64"
]  # fmt: skip
DOT = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("2094824e" "c0035fd6"))  # sdot v0.4s, v1.16b, v2.16b; ret
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print("executed")
"""
HWCAP = """
import ctypes
ask = ctypes.CDLL(None).getauxval
ask.restype = ctypes.c_ulong
print(ask(16), ask(26))
"""
NAMES = {
    16: "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma"
    " lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca"
    " pacg",
    26: "dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm"
    " svef64mm svebf16 i8mm bf16",
}
"""Bits of AT_HWCAP and AT_HWCAP2 from the lowest: Linux, arch/arm64/include/uapi/asm/hwcap.h."""


def cpu_of(name: str) -> Cpu:
    """Return a target's CPU."""
    cpu = target.load(name).cpu
    assert cpu is not None
    return cpu


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_has_no_feature_that_its_core_has_not(userland: Userland, name: str) -> None:
    """Runtimes believe /proc/cpuinfo: a feature too many is an illegal instruction later."""
    cpu = cpu_of(name)
    words = run_python(userland, cpu, ["-c", HWCAP]).split()
    has = {"evtstrm"}  # a timer of the kernel's, no instruction
    for word, names in zip(words, NAMES.values(), strict=True):
        has |= {each for bit, each in enumerate(names.split()) if int(word) >> bit & 1}
    assert set(cpu.features) <= has
    assert ("asimddp" in cpu.features) == ("asimddp" in target.load(name).cpu_features)


def test_a_program_sees_the_board(userland: Userland) -> None:
    """Its cpuinfo, clock, caches and number of cores, by the paths that Linux has."""
    cpu = cpu_of("raspberry-pi-5")
    program = """
from pathlib import Path
info = Path("/proc/cpuinfo").read_text()
print(info.count("processor"), "asimddp" in info, "0xd0b" in info)
folder = Path("/sys/devices/system/cpu/cpu3")
print((folder / "cpufreq/cpuinfo_max_freq").read_text().strip())
print([(p / "size").read_text().strip() for p in sorted((folder / "cache").iterdir())])
"""
    assert run_python(userland, cpu, ["-c", program]).splitlines() == [
        "4 True True", "2400000", "['64K', '64K', '512K', '2048K']",
    ]  # fmt: skip


def test_an_instruction_that_the_cpu_has_not_is_seen(userland: Userland) -> None:
    """A dot product runs on a Cortex-A76 and is illegal on a Cortex-A53."""
    assert run_python(userland, cpu_of("raspberry-pi-5"), ["-c", DOT]) == "executed\n"
    with pytest.raises(IllegalInstructionError, match=r"that a cortex-a53 has not \(SIGILL\)"):
        run_python(userland, cpu_of("raspberry-pi-3"), ["-c", DOT])


def test_what_ends_otherwise_is_one_line(userland: Userland) -> None:
    """An exception, a crash, a program without end."""
    cpu = cpu_of("raspberry-pi-5")
    with pytest.raises(EmulationError, match="on an emulated cortex-a76: ValueError: no"):
        run_python(userland, cpu, ["-c", "raise ValueError('no')"])
    with pytest.raises(EmulationError, match="was ended by SIGSEGV"):
        run_python(userland, cpu, ["-c", "import ctypes; ctypes.string_at(0)"])
    with pytest.raises(EmulationError, match="took longer than 3 s"):
        run_python(userland, cpu, ["-c", "while True: pass"], time_limit_s=3)
    with pytest.raises(EmulationError, match="cortex-a99"):
        run_python(userland, replace(cpu, core="cortex-a99"), ["-c", ""])


def test_32_bits_run_too(armhf: Userland) -> None:
    """Debian's numpy and tflite-runtime on an ARMv7 core with NEON."""
    cpu = replace(cpu_of("raspberry-pi-3"), core="cortex-a15", features=("vfpv4", "neon"))
    program = "import numpy, sys; import tflite_runtime.interpreter; print(sys.maxsize > 2**32)"
    assert run_python(armhf, cpu, ["-c", program]) == "False\n"
