"""Cycles of an inference if only the core's execution units bound it: by llvm-mca's models.

Each translated block that was executed is taken alone, its loads hit the first cache, no
dependence delays it: a lower bound, which a factor fitted to real boards makes a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgecompile.latency.llvm import Llvm

Block = tuple[int, Sequence[str]]
"""How often it was executed; its instructions as 8 hexadecimal digits."""

MOST_BLOCKS = 500
"""The hottest: 99.9 % of MiniLM's instructions."""
CALLS = ("bl", "blr", "ret", "br", "svc", "brk")
"""What llvm-mca does not take; a few in a thousand."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Cycles, and which part of the instructions they were found for; the rest is as these."""

    cycles: float
    covered: float


def bound_blocks(llvm: Llvm, scheduler: str, blocks: Sequence[Block]) -> Bound:
    """Sum the executed blocks' bounds on the model of a core that llvm calls `scheduler`."""
    total = sum(times * len(words) for times, words in blocks)
    hottest = sorted(blocks, key=lambda b: -b[0] * len(b[1]))[:MOST_BLOCKS]
    texts = llvm.disassemble(sorted({word for _, words in hottest for word in words}))
    listings = [
        [texts[w] for w in words if w in texts and texts[w].split()[0] not in CALLS]
        for _, words in hottest
    ]
    kept = [number for number, listing in enumerate(listings) if listing]
    found = llvm.bound(scheduler, [listings[number] for number in kept])
    counted = {kept[place]: cycles for place, cycles in found.items()}
    covered = sum(hottest[n][0] * len(hottest[n][1]) for n in counted)
    cycles = sum(hottest[n][0] * each for n, each in counted.items())
    return Bound(cycles * total / covered, covered / total)
