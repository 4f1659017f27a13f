"""What a board draws, idle and with all cores at work: the table [power] of a target's file."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Power:
    """Watts at the board's supply. `source` says who measured them, and how."""

    idle_watts: float
    load_watts: float
    source: str

    def watts(self, threads: int, cores: int) -> float:
        """Return the watts with some cores busy: idle + (load - idle) / cores for each."""
        busy = min(threads, cores)
        return self.idle_watts + (self.load_watts - self.idle_watts) / cores * busy
