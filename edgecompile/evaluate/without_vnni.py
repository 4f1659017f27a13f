"""An x86 target that does not ask for VNNI is judged without it too: emulated, if this host has it.

VNNI sums int8 products in 32 bits; AVX2 before it sums pairs in 16, which may saturate. A host with
VNNI cannot see that of itself.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.evaluate.accuracy import Accuracy
from edgecompile.evaluate.emulate_avx2 import emulate, how, needs_qemu
from edgecompile.evaluate.emulated import Answers, Emulated
from edgecompile.host import Host
from edgecompile.target import Target

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed

SAMPLES = 8
"""The first of the golden samples, under qemu: it is some 50 times slower."""


def how_many(target: Target, golden: "Sequence[Feed]") -> int:
    """Return how many of the golden samples are run without VNNI: the first."""
    return min(SAMPLES, len(golden)) if needs_qemu(target.engine) else len(golden)


def why_not(host: Host, target: Target, qemu: str | None) -> str | None:
    """Return why a target's artifact is not emulated without VNNI here, or None if it is.

    `qemu` is the emulator's path, None where it is not installed.
    """
    if target.isa != "x86_64":
        return f"{target.name} is {target.isa}: VNNI is x86's"
    if "vnni" in target.cpu_features:
        return f"every {target.name} has VNNI"
    lacking = qemu is None and needs_qemu(target.engine)
    reasons = {
        f"this host is {host.isa}, which cannot run x86_64's kernels": host.isa != "x86_64",
        "this host does not say whether it has VNNI": not host.features,
        "this host has no VNNI itself: what was measured is that case": "vnni" not in host.features,
        "this host has VNNI and no qemu-x86_64 to hide it: apt install qemu-user": lacking,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def judge_without_vnni(  # noqa: PLR0917 - what runs where, and what judges it
    qemu: str | None,
    target: Target,
    artifact: Path,
    golden: "Sequence[Feed]",
    answers: Answers,
    judge: Callable[[Answers], Accuracy],
) -> Emulated:
    """Judge an artifact by the first golden samples without VNNI, and here.

    `answers` are this host's; `judge` compares some with the float model's to as many samples.
    Raises EmulationError.
    """
    count = how_many(target, golden)
    given = emulate(qemu, artifact, target.engine, golden[:count])
    return Emulated(judge(given), judge(answers[:count]), how(qemu, target.engine))
