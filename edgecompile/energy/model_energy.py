"""Joules of an inference where no meter is: latency x the watts that such a board draws."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecompile.power import Power

if TYPE_CHECKING:
    from edgecompile.profile.profile_host import Number

WATTS_BAND = 0.5
"""Boards of one kind differ: a Pi 4 idles at 1.6 W, its CM4 at 2.5, its Pi 400 at 2.7 (geerlingguy/
sbc-reviews); `stress` loads a core otherwise than int8 products do."""
LATENCY = ("latency_p50", "latency")
"""Names of a latency that was measured, and of one that was modelled."""


def model_energy(numbers: "Sequence[Number]", power: Power | None, cores: int) -> "list[Number]":
    """Return a modelled energy for each model's known latencies; none without [power].

    Float's and the artifact's together say what compression saves: the same board, the same watts.

    E = t x W, W = idle + (load - idle) / cores for each busy core: the whole board's share of the
    time, its idle watts included. Errors of t and W are independent, so their relative bands add in
    quadrature (JCGM 100:2008, 5.1.6), apart for each side.
    """
    if power is None:
        return []
    return [
        _energy(number, power, cores)
        for number in numbers
        if number["name"] in LATENCY and number["value"]
    ]


def _energy(latency: "Number", power: Power, cores: int) -> "Number":
    threads = int(latency.get("threads", 1))
    watts = power.watts(threads, cores)
    joules = float(latency["value"]) / 1e3 * watts
    below, above = (_band(latency, side) for side in ("low", "high"))
    keys: tuple[str, ...] = ("sequence", "phase", "threads")
    where = {key: latency[key] for key in keys if key in latency}
    return {
        "name": "energy",
        "value": _round(joules),
        "unit": "J",
        "kind": "modelled",
        "how": (
            f"{latency['kind']} latency x {watts:.2f} W of the board, {threads} of {cores} cores"
            f" busy; watts +-{WATTS_BAND:.0%}; {power.source}"
        ),
        "model": latency["model"],
        **where,
        "watts": round(watts, 3),
        "time_low": round(1 - below, 4),
        "time_high": round(1 + above, 4),
        "low": _round(joules * max(0.0, 1 - math.hypot(WATTS_BAND, below))),
        "high": _round(joules * (1 + math.hypot(WATTS_BAND, above))),
    }


def _band(latency: Mapping[str, Any], side: str) -> float:
    """Return how far a latency's band reaches to one side, as a share; 0 where it has none."""
    return abs(float(latency[side]) / float(latency["value"]) - 1) if side in latency else 0.0


def _round(joules: float) -> float:
    return float(f"{joules:.4g}")


def measured_energy(result: Mapping[str, Any]) -> "list[Number]":
    """Return what smoke.py measured with a meter (watts.py), if there was one.

    Raises ValueError, KeyError, TypeError for a result that no smoke.py has written.
    """
    found = result.get("energy")
    if not found:
        return []
    from edgecompile.bundles.smoke_result import sequence_of

    joules, low, high, watts, idle = (
        float(found[key]) for key in ("joules", "low", "high", "watts", "idle_watts")
    )
    if not all(math.isfinite(n) for n in (joules, low, high, watts, idle)):
        msg = "energy: not a number"
        raise ValueError(msg)
    return [
        {
            "name": "energy",
            "value": _round(joules),
            "unit": "J",
            "kind": "measured",
            "how": (
                f"{str(found['meter'])[:100]}; {watts:.2f} W at work, {idle:.2f} W idle;"
                f" {int(found['inferences'])} inferences in {float(found['seconds']):.0f} s,"
                f" {int(found['samples'])} samples; low and high: of five windows"
            ),
            "model": "artifact",
            "sequence": sequence_of(found["shape"]),
            "threads": int(found["threads"]),
            "low": _round(low),
            "high": _round(high),
        }
    ]
