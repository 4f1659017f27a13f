"""Batches: a function of seed and number, padded little, and never made of what judges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.distill.batches import (
    Samples,
    collate,
    hold_out,
    in_batches,
    schedule_of,
    without,
)
from edgecompile.errors import DataError


def texts(lengths: list[int], padding: int = 0) -> Samples:
    """Return samples of these lengths, each with numbers of its own."""
    feeds = [
        {
            "input_ids": np.full((1, n), 5 + i, np.int64),
            "attention_mask": np.ones((1, n), np.int64),
        }
        for i, n in enumerate(lengths)
    ]
    return Samples(feeds, None, padding)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=9, max_size=60), st.integers(0, 5))
def test_an_epoch_takes_each_sample_at_most_once(lengths: list[int], seed: int) -> None:
    """Only what does not fill a batch is left out, and each epoch is another order."""
    samples = texts(lengths)
    schedule = schedule_of(samples, 4, seed)
    assert schedule.batches == len(lengths) // 4
    for epoch in (0, 3):
        numbers = range(epoch * schedule.batches, (epoch + 1) * schedule.batches)
        taken = [n for number in numbers for n in schedule.at(number)]
        assert len(taken) == len(set(taken)) == schedule.batches * 4


def test_a_batch_depends_on_seed_and_number_alone() -> None:
    """Asked for out of order, and of another schedule of the same samples, it is the same."""
    lengths = np.random.default_rng(0).integers(3, 40, 200).tolist()
    first, again = (schedule_of(texts(lengths), 8, 7) for _ in range(2))
    wanted = {n: first.at(n) for n in (0, 60, 3)}
    assert all(again.at(n) == batch for n, batch in sorted(wanted.items()))
    assert schedule_of(texts(lengths), 8, 8).at(0) != wanted[0]
    assert first.at(0) != first.at(first.batches)


def test_little_is_padded() -> None:
    """Of lengths from 3 to 60, at most a twentieth of the tokens are padding."""
    lengths = np.random.default_rng(0).integers(3, 61, 4000).tolist()
    samples = texts(lengths)
    schedule = schedule_of(samples, 32, 0)
    batches = [collate(samples.take(schedule.at(n))) for n in range(schedule.batches)]
    whole = sum(batch.inputs["input_ids"].size for batch in batches)
    assert sum(batch.tokens for batch in batches) > 0.95 * whole


def test_padding_is_the_tokenizers_and_masked() -> None:
    """Ids are filled up with the padding id, the mask with 0."""
    batch = collate(texts([2, 4], padding=1))
    assert batch.inputs["input_ids"].tolist() == [[5, 5, 1, 1], [6, 6, 6, 6]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.tokens == 6


def test_samples_without_a_mask_are_batched_by_shape() -> None:
    """Nothing says which numbers are padding, so nothing is padded."""
    feeds = [{"x": np.zeros((1, n), np.float32)} for n in (3, 5, 3, 5, 3, 3, 5, 5)]
    samples = Samples(feeds)
    schedule = schedule_of(samples, 2, 0)
    assert schedule.batches == 4
    for number in range(4):
        assert len({feeds[n]["x"].shape for n in schedule.at(number)}) == 1
    seen = [n for numbers, _ in in_batches(samples, 3) for n in numbers]
    assert sorted(seen) == list(range(8))


def test_what_judges_does_not_train() -> None:
    """Not even as a copy of a sample that judges."""
    samples = texts([4] * 30)
    doubled = Samples([*samples.feeds, *samples.feeds])
    rest, held = hold_out(doubled, 10, 8, 0)
    judged = {int(feed["input_ids"][0, 0]) for feed in held.feeds}
    assert judged.isdisjoint(int(feed["input_ids"][0, 0]) for feed in rest.feeds)
    assert len(held.feeds) == 10


def test_what_judges_a_build_does_not_train_either() -> None:
    """Labels stay with their samples; the same ids behind another mask are another sample."""
    samples = Samples(texts([4] * 6).feeds, np.arange(6))
    other = {**samples.feeds[5], "attention_mask": np.zeros((1, 4), np.int64)}
    left = without(samples, [samples.feeds[1], samples.feeds[4], other])
    assert left.labels is not None
    assert left.labels.tolist() == [0, 2, 3, 5]
    assert [int(feed["input_ids"][0, 0]) for feed in left.feeds] == [5, 7, 8, 10]


def test_too_few_samples_are_named() -> None:
    """With what is asked for, and what is there."""
    with pytest.raises(DataError, match=r"20 samples; .*held_out = 16 and a batch of 8 need 24"):
        hold_out(texts([4] * 20), 16, 8, 0)
    with pytest.raises(DataError, match="no 8 of 5 samples"):
        schedule_of(texts([4] * 5), 8, 0)
