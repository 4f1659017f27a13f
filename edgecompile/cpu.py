"""The CPU of a board, as its target's file says it: table [cpu]."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cpu:
    """What a runtime chooses its kernels by, and what a latency model needs.

    `core` is qemu's -cpu, and may have its properties: "max,sve-max-vq=1". `part`, `variant`,
    `revision` are MIDR_EL1's fields, `features` /proc/cpuinfo's: none that `core` has not, or the
    runtime takes instructions which the emulator refuses. `cores` are alike; `l2_bytes` is each
    core's own where there is an L3, else of all; 0 is: none.
    """

    core: str
    part: str
    variant: str
    revision: int
    features: tuple[str, ...]
    clock_hz: int
    cores: int
    l1i_bytes: int
    l1d_bytes: int
    l2_bytes: int
    l3_bytes: int = 0
    implementer: str = "0x41"

    @property
    def name(self) -> str:
        """Return qemu's name of the core, without properties."""
        return self.core.partition(",")[0]
