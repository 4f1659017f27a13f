"""Energy before and after: rows of one case together, and what is saved with its band."""

from edgecompile.energy.model_energy import model_energy
from edgecompile.power import Power
from edgecompile.report.html.spent import spent_tables

PI_5 = Power(2.8, 9.7, "geerlingguy")


def latency(model: str, ms: float) -> dict[str, object]:
    """Return a modelled latency of +-40 %."""
    case = {"name": "latency", "unit": "ms", "kind": "modelled", "how": "", "threads": 1}
    return {**case, "model": model, "value": ms, "low": 0.6 * ms, "high": 1.4 * ms, "sequence": 128}


def test_watts_that_both_share_do_not_widen_what_is_saved() -> None:
    """A quarter of the time: 75 % saved; 1.4 x 0.25 / 0.6 of it at worst, 0.6 x 0.25 / 1.4."""
    rows = model_energy([latency("artifact", 25.0), latency("float", 100.0)], PI_5, 4)
    (table,) = spent_tables({"numbers": rows})
    assert [row["model"] for row in table["rows"]] == ["float", "artifact"]
    assert table["saved"] == "75% saved (42% to 89%)"
    assert table["first"]


def test_a_meter_shares_nothing_with_a_model() -> None:
    """Then the whole bands count, and words in the place of numbers do no harm."""
    after, before = model_energy([latency("artifact", 25.0), latency("float", 100.0)], PI_5, 4)
    measured = {k: v for k, v in after.items() if k not in {"watts", "time_low", "time_high"}}
    for row in (measured | {"low": after["value"], "high": after["value"]}, after | {"watts": "x"}):
        (table,) = spent_tables({"numbers": [row, before]})
        assert table["saved"].startswith("75% saved (")
        assert table["saved"] != "75% saved (42% to 89%)"
