"""The host: what this machine is, and whether it can time a target's artifact."""

import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgecompile import host as hosts
from edgecompile import target
from edgecompile.host import Host, read_host, why_not

INTEL = "model name\t: Some Xeon\nflags\t\t: fpu avx2 avx512_vnni\n\nmodel name\t: Some Xeon\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n"
GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"

Pretend = Callable[[str, dict[str, str]], None]


@pytest.fixture
def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Return a function that makes this machine look like another, by its files."""

    def apply(machine: str, files: dict[str, str]) -> None:
        def elsewhere(path: str) -> Path:
            return tmp_path / path.strip("/").replace("/", "-")

        for path, text in files.items():
            elsewhere(path).write_text(text, encoding="utf-8")
        monkeypatch.setattr(hosts, "Path", elsewhere)
        monkeypatch.setattr(platform, "machine", lambda: machine)

    return apply


@pytest.mark.parametrize("feature", ["avx512_vnni", "avx_vnni"])
def test_pc_is_read_from_its_files(pretend: Pretend, feature: str) -> None:
    """A PC's name, features and governor are those of its files; both VNNI flags mean VNNI."""
    cpuinfo = INTEL.replace("avx512_vnni", feature)
    pretend("AMD64", {"/proc/cpuinfo": cpuinfo, GOVERNOR: "powersave\n"})
    found = read_host()
    assert (found.cpu, found.isa, found.governor) == ("Some Xeon", "x86_64", "powersave")
    assert found.features == {"fpu", "avx2", feature, "vnni"}


def test_pc_without_vnni_has_none(pretend: Pretend) -> None:
    """VNNI is not made up where the CPU does not say so."""
    pretend("x86_64", {"/proc/cpuinfo": INTEL.replace(" avx512_vnni", "")})
    assert read_host().features == {"fpu", "avx2"}


def test_board_is_read_from_its_files(pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ARM board has Features and no model name; its ISA is called as Linux calls it."""
    monkeypatch.setattr(platform, "processor", lambda: "")
    pretend("arm64", {"/proc/cpuinfo": ARM})
    found = read_host()
    assert (found.cpu, found.isa, found.governor) == ("aarch64", "aarch64", "unknown")
    assert found.features == {"fp", "asimd", "asimddp"}


def test_machine_without_files_is_unknown(
    pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere than on Linux the features are unknown, and nothing fails."""
    monkeypatch.setattr(platform, "processor", lambda: "some CPU")
    pretend("arm64", {})
    found = read_host()
    assert (found.cpu, found.features, found.governor) == ("some CPU", frozenset(), "unknown")


def test_threads_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's share counts, not the machine's CPUs, where the system tells."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: {0, 3, 5}, raising=False)
    assert read_host().threads == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    assert read_host().threads == 7
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert read_host().threads == 1


PC = Host("a PC", "x86_64", frozenset({"avx2", "sse"}), 4, "performance")
BOARD = replace(target.REFERENCE, name="board", isa="x86_64", cpu_features=("avx2",))


def test_host_with_all_features_can() -> None:
    """A host of the target's ISA with its CPU features can run and time its artifact."""
    assert why_not(PC, BOARD) is None
    assert why_not(PC, replace(BOARD, cpu_features=())) is None


def test_other_isa_cannot() -> None:
    """A host of another ISA cannot, and both are named."""
    assert why_not(PC, replace(BOARD, isa="aarch64")) == ("this host is x86_64, board is aarch64")


def test_missing_features_are_named() -> None:
    """A host without the target's features would run other kernels: those missing are named."""
    wants = replace(BOARD, cpu_features=("vnni", "avx2", "amx"))
    assert why_not(PC, wants) == "this host's CPU lacks amx, vnni, which board has"


def test_unknown_features_are_trusted() -> None:
    """Where a system does not tell its features, the ISA decides."""
    unknown = replace(PC, features=frozenset())
    assert why_not(unknown, replace(BOARD, cpu_features=("vnni",))) is None
    assert why_not(unknown, replace(BOARD, isa="aarch64")) is not None
