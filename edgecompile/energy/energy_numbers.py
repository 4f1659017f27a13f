"""All of a profile that speaks of energy: made anew whenever its latencies change."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecompile.energy.carbon import carbon, read_grid
from edgecompile.energy.model_energy import model_energy
from edgecompile.target import Target

if TYPE_CHECKING:
    from edgecompile.profile.profile_host import Number

NAMES = ("energy", "carbon_1000", "carbon_device_year")


def with_energy(
    profile: Mapping[str, Any],
    target: Target,
    measured: "Sequence[Number]" = (),
    country: str = "",
    a_day: int = 0,
) -> dict[str, Any]:
    """Return a profile with its energy, and carbon where a country is named.

    What a meter measured wins over the model for the same feed and threads.
    """
    others = [number for number in profile["numbers"] if number["name"] not in NAMES]
    cores = target.cpu.cores if target.cpu else 1
    power = target.power if target.cpu else None
    known = {_of(number) for number in measured}
    modelled = [n for n in model_energy(others, power, cores) if _of(n) not in known]
    energies = [*measured, *modelled]
    grams = carbon(energies, read_grid(country), a_day) if country and energies else []
    return {**profile, "numbers": [*others, *energies, *grams]}


def _of(number: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(number.get(key) for key in ("model", "sequence", "phase", "threads"))
