"""Grams of CO2e for energy from a country's grid: codecarbon's table, of the extra [energy]."""

import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.errors import MissingRuntimeError, RecipeError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgecompile.profile.profile_host import Number

TABLE = "codecarbon/data/private_infra/global_energy_mix.json"
JOULES_A_KWH = 3.6e6
DAYS_A_YEAR = 365


@dataclass(frozen=True, slots=True)
class Grid:
    """A country's electricity: grams of CO2e a kWh, of which year, and who says so."""

    country: str
    name: str
    year: int
    g_per_kwh: float
    source: str


def read_grid(country: str) -> Grid:
    """Return the grid of a country by its ISO 3166 code of three letters, as in "DEU".

    The file is read where pip put it: importing codecarbon would load pandas and more. There is no
    world average: it is wrong by a factor of ten for some countries.
    """
    table, source = _read_table()
    row = table.get(country.upper())
    if row is None:
        kind = "country in codecarbon's table"
        raise UnknownNameError(kind, country, table)
    try:
        return Grid(
            country.upper(), str(row["country_name"]), int(row["year"]),
            float(row["carbon_intensity"]), source,
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{source}: has no carbon intensity of {country}: {error}"
        raise RecipeError(msg) from error


def _read_table() -> tuple[dict[str, Any], str]:
    try:
        package = metadata.distribution("codecarbon")
    except metadata.PackageNotFoundError as error:
        what, fault = "codecarbon", "is not installed: its table of countries is needed"
        raise MissingRuntimeError(what, fault, "edgecompile[energy]") from error
    source = f"codecarbon {package.version}"
    try:
        table = json.loads(Path(str(package.locate_file(TABLE))).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{source}: {TABLE} cannot be read: {error}; install codecarbon 3.3"
        raise RecipeError(msg) from error
    return dict(table), source


def carbon(energies: "Sequence[Number]", grid: Grid, a_day: int = 0) -> "list[Number]":
    """Return grams of CO2e of 1,000 inferences and, with `a_day` inferences, of a device-year.

    1 kWh = 3.6e6 J. Only the time of inferences counts: a board that idles between them takes more.
    The kind and the band are the energy's own; the grid's figure is taken as it is.
    """
    found = []
    for energy in energies:
        amounts = {"carbon_1000": (1000, "1,000 inferences")}
        if a_day:
            told = f"a year of {a_day:,} inferences a day, idle time not counted"
            amounts["carbon_device_year"] = (a_day * DAYS_A_YEAR, told)
        for name, (count, told) in amounts.items():
            grams = {
                key: float(f"{energy[key] * count / JOULES_A_KWH * grid.g_per_kwh:.4g}")
                for key in ("value", "low", "high")
                if energy.get(key) is not None
            }
            how = (
                f"{told}: {energy['kind']} energy x {grid.g_per_kwh:.0f} g/kWh, {grid.name}"
                f" {grid.year} ({grid.source})"
            )
            found.append({**energy, "name": name, "unit": "g CO2e", "how": how, **grams})
    return found
