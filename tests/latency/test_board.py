"""A board's factor from its anchors, and how far each is off when the others fit it."""

from dataclasses import replace

import pytest

from edgecompile import target
from edgecompile.errors import RecipeError
from edgecompile.latency.board import COUNTS, MCA, Latency, leave_one_out
from edgecompile.latency.bound_counts import MEMORY, SIMD, bound_counts

SMALL = Latency(
    scheduler="cortex-a72", band=0.25, counts_band=0.4, speedup_4_threads=(1.6, 3.5),
    anchors=("a", "b"), measured_ms=(10.0, 40.0), resources_mcycles=(10.0, 10.0),
    counts_mcycles=(5.0, 20.0), issue_width=3, simd_units=2, memory_units=2,
)  # fmt: skip


def test_the_factor_is_the_geometric_mean_of_measured_over_bounding_cycles() -> None:
    """10 ms at 1 GHz are 10 M cycles: ratios 1 and 4 by resources, 2 and 2 by counts."""
    assert SMALL.factor(MCA, 1_000_000_000) == pytest.approx(2.0)
    assert SMALL.factor(COUNTS, 1_000_000_000) == pytest.approx(2.0)
    assert SMALL.factor(MCA, 500_000_000) == pytest.approx(1.0)


def test_anchors_of_another_board_keep_that_boards_clock() -> None:
    """A slower board of the same core takes the same cycles."""
    slower = replace(SMALL, anchor_clock_hz=1_000_000_000)
    assert slower.factor(MCA, 500_000_000) == pytest.approx(2.0)


def test_each_anchor_is_judged_by_the_others() -> None:
    """Ratios 1 and 4: by the other's factor, one is 4 times too slow, one 4 times too fast."""
    assert leave_one_out([1.0, 4.0]) == pytest.approx([3.0, -0.75])


def test_rows_of_different_lengths_are_refused() -> None:
    """The line says what is missing."""
    with pytest.raises(RecipeError, match="each of the 2 anchors needs one number a row"):
        replace(SMALL, measured_ms=(1.0,))


@pytest.mark.parametrize("busy", ["instructions", "dot", "load"])
def test_the_busiest_units_bound_what_counts_alone_can_say(busy: str) -> None:
    """12 M instructions by the width, the vector units or the memory units."""
    counts = {"instructions": 12, **dict.fromkeys((*SIMD, *MEMORY), 0)} | {busy: 12}
    assert bound_counts(counts, SMALL) == {"instructions": 4, "dot": 6, "load": 6}[busy]


@pytest.mark.parametrize("model", [MCA, COUNTS])
def test_four_of_five_published_times_lie_in_the_stated_band(model: str) -> None:
    """Over all boards with times of their own, each time modelled by the factor of the others."""
    inside = []
    for name in target.names():
        board = target.load(name)
        latency = board.latency
        if latency is None or board.cpu is None or latency.anchor_clock_hz:
            continue
        errors = leave_one_out(latency.ratios(model, board.cpu.clock_hz))
        inside += [abs(error) <= latency.band_of(model) for error in errors]
    assert len(inside) >= 15
    assert sum(inside) / len(inside) >= 0.8
