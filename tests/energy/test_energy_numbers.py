"""Modelled joules and grams, with bands that say how far they may be off."""

import math
from importlib import metadata
from typing import Any

import pytest

from edgecompile import target
from edgecompile.energy.carbon import Grid, carbon, read_grid
from edgecompile.energy.energy_numbers import with_energy
from edgecompile.energy.model_energy import measured_energy, model_energy
from edgecompile.errors import MissingRuntimeError, UnknownNameError
from edgecompile.power import Power
from edgecompile.report.energy import energy_table, show

PI_5 = Power(2.8, 9.7, "geerlingguy")
LATENCY = {
    "name": "latency_p50", "value": 43.0, "unit": "ms", "kind": "modelled", "how": "counts",
    "model": "artifact", "sequence": 128, "threads": 1, "low": 43 * 0.6, "high": 43 * 1.4,
}  # fmt: skip
GERMANY = Grid("DEU", "Germany", 2023, 381.0, "codecarbon 3.3.2")


def test_energy_is_latency_times_the_busy_cores_watts() -> None:
    """Pi 5, one of four cores: 2.8 + 6.9 / 4 = 4.525 W; 43 ms take 0.195 J."""
    (energy,) = model_energy([LATENCY], PI_5, 4)
    assert energy["value"] == pytest.approx(0.043 * 4.525, rel=1e-3)
    assert energy["kind"] == "modelled"
    assert (energy["sequence"], energy["threads"]) == (128, 1)
    assert PI_5.watts(4, 4) == pytest.approx(9.7)
    assert PI_5.watts(8, 4) == pytest.approx(9.7)


def test_bands_combine() -> None:
    """+-40 % of time and +-50 % of watts are +-64 %; a measured time leaves the watts' band."""
    (energy,) = model_energy([LATENCY], PI_5, 4)
    both = math.hypot(0.4, 0.5)
    assert energy["low"] == pytest.approx(energy["value"] * (1 - both), rel=1e-3)
    assert energy["high"] == pytest.approx(energy["value"] * (1 + both), rel=1e-3)
    timed = {k: v for k, v in LATENCY.items() if k not in {"low", "high"}} | {"kind": "measured"}
    (energy,) = model_energy([timed], PI_5, 4)
    assert energy["high"] == pytest.approx(energy["value"] * 1.5, rel=1e-3)
    assert energy["kind"] == "modelled"


def test_there_is_no_energy_without_a_latency_or_watts() -> None:
    """Null stays unknown, a target without [power] has none."""
    unknown = LATENCY | {"value": None, "kind": None}
    assert model_energy([unknown], PI_5, 4) == []
    assert model_energy([LATENCY], None, 4) == []


def test_floats_energy_stands_beside_the_artifacts() -> None:
    """By its own time on the same board; a meter that measured the artifact changes only that."""
    float_latency = LATENCY | {"model": "float", "value": 172.0, "low": 103.2, "high": 240.8}
    profile = {"numbers": [LATENCY, float_latency]}
    measured = measured_energy({"energy": METERED})
    for metered, kind in (((), "modelled"), (measured, "measured")):
        found = with_energy(profile, target.load("raspberry-pi-5"), metered)
        energies = {n["model"]: n for n in found["numbers"] if n["name"] == "energy"}
        assert energies["float"]["value"] == pytest.approx(0.172 * 4.525, rel=1e-3)
        assert (energies["float"]["kind"], energies["artifact"]["kind"]) == ("modelled", kind)


def test_every_board_with_watts_has_a_source_and_cores() -> None:
    """[power] of the target files."""
    boards = [board for board in map(target.load, target.names()) if board.power]
    assert {board.name for board in boards} >= {"raspberry-pi-4", "raspberry-pi-5"}
    for board in boards:
        assert board.cpu
        assert board.power
        assert 0 < board.power.idle_watts < board.power.load_watts
        assert board.power.source


METERED: dict[str, Any] = {
    "joules": 0.2, "low": 0.19, "high": 0.21, "watts": 4.5, "idle_watts": 2.7, "inferences": 200,
    "seconds": 10.0, "samples": 100, "meter": "board, by the PMIC", "threads": 1,
    "shape": {"input_ids": [1, 128]},
}  # fmt: skip


def test_what_a_meter_measured_wins_over_the_model() -> None:
    """For the same tokens and threads there is one energy, and it is measured."""
    profile = {"numbers": [LATENCY, LATENCY | {"threads": 4, "value": 20.0}]}
    measured = measured_energy({"energy": METERED})
    found = with_energy(profile, target.load("raspberry-pi-5"), measured)
    energies = [n for n in found["numbers"] if n["name"] == "energy"]
    assert [(n["threads"], n["kind"]) for n in energies] == [(1, "measured"), (4, "modelled")]
    again = with_energy(found, target.load("raspberry-pi-5"))
    assert [n["kind"] for n in again["numbers"] if n["name"] == "energy"] == ["modelled"] * 2


def test_carbon_is_energy_times_the_grid() -> None:
    """0.2 J x 1,000 / 3.6e6 x 381 g/kWh; a year is 365 days of inferences."""
    energy = measured_energy({"energy": METERED})
    thousand, year = carbon(energy, GERMANY, 10_000)
    assert thousand["value"] == pytest.approx(0.2 * 1000 / 3.6e6 * 381, rel=1e-3)
    assert year["value"] == pytest.approx(0.2 * 3_650_000 / 3.6e6 * 381, rel=1e-3)
    assert year["low"] < year["value"] < year["high"]
    assert "Germany 2023" in thousand["how"]
    assert thousand["kind"] == "measured"
    assert [n["name"] for n in carbon(energy, GERMANY)] == ["carbon_1000"]


def test_no_country_is_no_carbon() -> None:
    """A world average is never assumed."""
    found = with_energy({"numbers": [LATENCY]}, target.load("raspberry-pi-5"))
    assert {n["unit"] for n in found["numbers"]} == {"ms", "J"}


def test_without_the_extra_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Core needs no codecarbon."""

    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(MissingRuntimeError, match=r"pip install 'edgecompile\[energy\]'"):
        read_grid("DEU")


def test_codecarbons_table() -> None:
    """The real one: a country and its year; another word is named, with the nearest."""
    try:
        metadata.distribution("codecarbon")
    except metadata.PackageNotFoundError:
        pytest.skip("codecarbon is not installed: pip install --no-deps -r locks/energy.txt")
    grid = read_grid("deu")
    assert (grid.country, grid.name) == ("DEU", "Germany")
    assert 100 < grid.g_per_kwh < 800
    assert grid.year >= 2021
    with pytest.raises(UnknownNameError, match="did you mean 'DEU'"):
        read_grid("DE")


def test_the_table_shows_where_each_number_is_from() -> None:
    """Units that suit; the kind is in every line."""
    energies = model_energy([LATENCY], PI_5, 4)
    table = energy_table([LATENCY, *energies, *carbon(energies, GERMANY)])
    assert table
    assert table.row_count == 2
    assert energy_table([LATENCY]) is None
    shown = [show(*given) for given in ((0.1946, "J"), (2.3, "J"), (0.0206, "g CO2e"))]
    assert shown == ["195 mJ", "2.3 J", "20.6 mg CO2e"]
