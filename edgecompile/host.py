"""The machine that this runs on, and whether it can run a target's artifact."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from edgecompile.target import Target

VNNI = frozenset({"avx_vnni", "avx512_vnni"})


@dataclass(frozen=True, slots=True)
class Host:
    """CPU name, ISA as `uname -m` says it, and the features that kernels are chosen by."""

    cpu: str
    isa: str
    features: frozenset[str]
    threads: int
    governor: str


def read_host() -> Host:
    """Read /proc/cpuinfo; elsewhere than Linux the features are unknown."""
    machine = platform.machine().lower()
    isa = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    values = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    features = frozenset((values.get("flags") or values.get("Features") or "").split())
    if features & VNNI:
        features |= {"vnni"}
    cpu = values.get("model name") or platform.processor() or isa
    return Host(cpu, isa, features, _threads(), _governor())


def _threads() -> int:
    """Count the CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _governor() -> str:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return "unknown"


def why_not(host: Host, target: Target, who: str = "this host") -> str | None:
    """Return why a host cannot time a target's artifact, or None if it can."""
    if host.isa != target.isa:
        return f"{who} is {host.isa}, {target.name} is {target.isa}"
    missing = sorted(set(target.cpu_features) - host.features)
    if missing and host.features:
        return f"{who}'s CPU lacks {', '.join(missing)}, which {target.name} has"
    return None
