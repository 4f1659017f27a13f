"""Measure a bundle on a board over ssh, and put its numbers into the bundle's profile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import target
from edgecompile.bundles.profile_bundle import Profiled
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.bundles.report_bundles import renew_report
from edgecompile.bundles.rewrite_bundle import rewrite_bundle
from edgecompile.bundles.smoke_result import latency_numbers
from edgecompile.energy.carbon import read_grid
from edgecompile.energy.energy_numbers import with_energy
from edgecompile.energy.model_energy import measured_energy
from edgecompile.remote.profile_on import Measured, Request, profile_on

if TYPE_CHECKING:
    from edgecompile.profile.profile_host import Number

Say = Callable[[str, str], None]
OF_A_MACHINE = ("latency_p50", "latency_p90", "latency", "peak_memory")
"""What the board's own numbers replace; "latency" is what was modelled."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """Where the board is and how it is measured: see remote/profile_on.py and device/watts.py.

    `country` and `a_day`: those of the recipe, if they are not given.
    """

    address: str
    python: str = ""
    config: Path | None = None
    watts: str = "auto"
    country: str = ""
    a_day: int = 0


def profile_on_board(folder: Path, wishes: Wishes, say: Say) -> Profiled:
    """Run the bundle's smoke.py on a board, keep what it measured there.

    Raises RemoteError, GateError, SmokeError; the bundle is then as it was.
    """
    bundle = read_bundle(folder)
    board = target.load(bundle.target)
    table = bundle.manifest.get("recipe", {}).get("profile", {})
    country = wishes.country or str(table.get("country", ""))
    if country:
        read_grid(country)  # a wrong word is told before the board works
    tokens = ",".join(str(int(n)) for n in bundle.manifest["golden"].get("tokens", ()))
    arguments = ["--watts", wishes.watts, *(["--tokens", tokens] if tokens else [])]
    request = Request(
        bundle.folder, bundle.manifest, board, wishes.address, wishes.python, wishes.config,
        arguments,
    )  # fmt: skip
    found = profile_on(request, say)
    numbers = [_of(found, number) for number in latency_numbers(found.result)]
    energies = [_of(found, number) for number in measured_energy(found.result)]
    kept = [n for n in bundle.profile["numbers"] if n["name"] not in OF_A_MACHINE]
    profile = {**bundle.profile, "host": _host(found), "numbers": [*kept, *numbers]}
    a_day = wishes.a_day or int(table.get("inferences_a_day", 0))
    profile = with_energy(profile, board, energies, country, a_day)
    bundle = rewrite_bundle(bundle, profile=profile)
    renew_report(bundle.folder)
    where = f"{found.board.name}, {found.result['runtime']}"
    what = "latencies and energy" if energies else "latencies"
    told = f"its {what}, in profile.json, in place of those of the build's machine"
    return Profiled(bundle, found.result, "measured", where, told)


def _of(found: Measured, number: "Number") -> "Number":
    return {**number, "how": f"on {found.board.name}; {number['how']}"}


def _host(found: Measured) -> Mapping[str, Any]:
    """Return the board as the profile's host; its address is nobody's business."""
    told = found.board.described()
    return {
        "cpu": told.pop("name"),
        **told,
        "threads": told.pop("cores"),
        "runtime": str(found.result["runtime"])[:100],
        **({"warning": found.board.warning} if found.board.warning else {}),
    }
