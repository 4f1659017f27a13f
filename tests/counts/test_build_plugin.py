"""The plugin, compiled here and loaded into a real qemu; and what is said without a compiler."""

import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from edgecompile.counts.build_plugin import build_plugin
from edgecompile.emulate.userland import qemu_environment
from edgecompile.errors import EmulationError
from edgecompile.toolchain.call import call

TIMES = 1000
GETPGID, EXIT = 155, 93
BODY = {
    0x4E829420: "sdot v0.4s, v1.16b, v2.16b",
    0x0E628020: "smlal v0.4s, v1.4h, v2.4h",
    0x4E22CC20: "fmla v0.4s, v1.4s, v2.4s",
    0x3DC003E3: "ldr q3, [sp]",
    0xF90007E0: "str x0, [sp, #8]",
}


def call_kernel(number: int, argument: int) -> list[int]:
    """Return mov x8, number; mov x0, argument; svc #0."""
    low, high = argument & 0xFFFF, argument >> 16
    return [0xD2800008 | number << 5, 0xD2800000 | low << 5, 0xF2A00000 | high << 5, 0xD4000001]


def program(path: Path) -> Path:
    """Write a static aarch64 program: between two marks a loop runs BODY for TIMES."""
    back = -(len(BODY) + 1) & 0x7FFFF
    code = [*call_kernel(GETPGID, 0x454301), 0xD2800001 | TIMES << 5, *BODY]
    code += [0xD1000421, 0xB5000001 | back << 5]  # sub x1, x1, #1; cbnz x1, the body
    code += [*call_kernel(GETPGID, 0x454302), *call_kernel(EXIT, 0)]
    text = struct.pack(f"<{len(code)}I", *code)
    base, offset = 0x400000, 0x78
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + offset, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = offset + len(text)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    path.write_bytes(header + segment + text)
    path.chmod(0o755)
    return path


def test_a_known_program_is_counted_exactly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop of five instructions that runs 1,000 times gives 1,000 of each, and its blocks."""
    qemu = shutil.which("qemu-aarch64")
    if qemu is None:
        pytest.skip("there is no qemu-aarch64: apt install qemu-user")
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    version = call([qemu, "--version"], 60, qemu_environment("")).split("version ")[1].split()[0]
    plugin = build_plugin(version)
    lines, blocks = tmp_path / "lines", tmp_path / "blocks"
    options = ["-cpu", "max", "-plugin", f"{plugin},out={lines},blocks={blocks}"]
    subprocess.run([qemu, *options, program(tmp_path / "loop")], check=True, timeout=60)
    begin, end = (json.loads(line) for line in lines.read_text().splitlines())
    assert (begin["at"], end["at"]) == ("begin", "end")
    assert [end[k] for k in ("dot", "int_mac", "float_fma", "load_simd", "store")] == [TIMES] * 5
    assert end["branch"] == TIMES
    assert end["integer"] == TIMES + 4  # and 4 before the loop and for the second mark
    assert end["instructions"] == 7 * TIMES + 5
    assert (end["int_macs"], end["float_macs"]) == (TIMES * (16 + 4), TIMES * 4)
    assert (end["load_bytes"], end["store_bytes"]) == (TIMES * 16, TIMES * 8)
    listed = [line.split() for line in blocks.read_text().splitlines()]
    assert sum(int(times) * len(words) for times, *words in listed) == end["instructions"]


def test_without_a_compiler_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No instructions are counted, and the line says what to install."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(EmulationError, match="no C compiler here: apt install gcc"):
        build_plugin("7.2.22")


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache holds no half-made plugin."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", "false")
    with pytest.raises(EmulationError, match="false failed"):
        build_plugin("7.2.22")
    assert not list((tmp_path / "cache").glob("**/counts.so"))


@pytest.mark.parametrize("version", ["8.2.2", "9.0.1", "10.0.2"])
def test_the_plugin_compiles_for_each_of_qemus_interfaces(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own file in the cache."""
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        pytest.skip("there is no C compiler")
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path))
    assert build_plugin(version).is_file()
    assert build_plugin(version) == build_plugin(version)


def test_a_qemu_without_plugins_is_refused() -> None:
    """The line names its version."""
    with pytest.raises(EmulationError, match=r"qemu 3\.1 has no plugins"):
        build_plugin("3.1")
