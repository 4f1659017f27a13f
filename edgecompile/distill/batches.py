"""Samples -> batches: padded little, and in an order that depends on seed and epoch alone.

    epoch's permutation -> windows of 64 batches, each sorted by length -> batches, shuffled

So the batch of any step can be made without having made those before it.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.data.source import Source
from edgecompile.errors import DataError
from edgecompile.graph import Array

MASK, IDS = "attention_mask", "input_ids"
WINDOW = 64
"""Batches whose samples are sorted together: more pad less, fewer mix better."""
SAMPLES_BYTES = 1 << 33
"""Samples are kept in memory while training goes over them again and again."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples kept in memory, the label of each (or none), and the id that pads texts."""

    feeds: Sequence[Feed]
    labels: Array | None = None
    padding: int = 0

    @property
    def counted(self) -> str:
        """Return what a batch's `tokens` counts: "tokens" of texts, else "samples"."""
        return "tokens" if MASK in self.feeds[0] else "samples"

    def take(self, numbers: Sequence[int]) -> "Samples":
        """Return some of them."""
        labels = None if self.labels is None else self.labels[list(numbers)]
        return Samples([self.feeds[n] for n in numbers], labels, self.padding)


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs [B, ...] by name, and the labels [B] if there are any."""

    inputs: Mapping[str, Array]
    labels: Array | None

    @property
    def tokens(self) -> int:
        """Return how many tokens are not padding; samples, where there are no tokens."""
        mask = self.inputs.get(MASK)
        return len(next(iter(self.inputs.values()))) if mask is None else int(mask.sum())


def read_samples(source: Source, wanted: int, labels: Array | None, padding: int) -> Samples:
    """Read the first `wanted` samples into memory."""
    feeds: list[Feed] = []
    size = 0
    for feed in source.feeds(0, wanted):
        size += sum(array.nbytes for array in feed.values())
        if size > SAMPLES_BYTES:
            msg = (
                f"{source.path}: {len(feeds)} samples take more than {SAMPLES_BYTES >> 30} GiB;"
                f" give [distill] samples = {len(feeds)}"
            )
            raise DataError(msg)
        feeds.append(feed)
    return Samples(feeds, None if labels is None else labels[: len(feeds)], padding)


def without(samples: Samples, judging: Sequence[Feed]) -> Samples:
    """Return the samples that are none of those by which a build judges, to the last number."""
    keys = {_key(feed) for feed in judging}
    return samples.take([n for n, feed in enumerate(samples.feeds) if _key(feed) not in keys])


def hold_out(samples: Samples, count: int, batch: int, seed: int) -> tuple[Samples, Samples]:
    """Return the samples to train with and `count` others to judge by.

    What is the same as one of those that judge, to the last token, does not train.
    """
    total = len(samples.feeds)
    if total < count + batch:
        msg = (
            f"[distill] data: {total} samples; [distill] held_out = {count} and a batch of {batch}"
            f" need {count + batch}: give more, or lower one of them"
        )
        raise DataError(msg)
    order = np.random.default_rng([seed, total]).permutation(total)
    held = sorted(order[:count].tolist())
    keys = {_key(samples.feeds[n]) for n in held}
    rest = [n for n in sorted(order[count:].tolist()) if _key(samples.feeds[n]) not in keys]
    return samples.take(rest), samples.take(held)


def _key(feed: Feed) -> bytes:
    found = hashlib.sha256()
    for name in sorted(feed):
        found.update(feed[name].tobytes())
    return found.digest()


@dataclass(frozen=True)
class Schedule:
    """Which samples make which batch; `forms` are the samples' sizes."""

    forms: tuple[tuple[tuple[int, ...], ...], ...]
    lengths: tuple[int, ...]
    batch: int
    seed: int

    def at(self, number: int) -> list[int]:
        """Return the samples of the batch with this number, counted over all epochs."""
        return _epoch(self, number // self.batches)[number % self.batches]

    @property
    def batches(self) -> int:
        """Return how many batches an epoch has: those that are full."""
        return len(_epoch(self, 0))


def schedule_of(samples: Samples, batch: int, seed: int) -> Schedule:
    """Return the schedule; fail if the samples do not fill one batch.

    Texts with a mask are padded to one length; what has none is batched by equal shape.
    """
    masked = MASK in samples.feeds[0]
    sizes = [tuple(feed[n].shape for n in sorted(feed)) for feed in samples.feeds]
    lengths = [feed[MASK].shape[1] if masked else 0 for feed in samples.feeds]
    forms = [() if masked else size for size in sizes]
    schedule = Schedule(tuple(forms), tuple(lengths), batch, seed)
    if not schedule.batches:
        msg = f"[distill] data: no {batch} of {len(forms)} samples have one shape; lower the batch"
        raise DataError(msg)
    return schedule


@lru_cache(maxsize=2)
def _epoch(schedule: Schedule, epoch: int) -> list[list[int]]:
    random = np.random.default_rng([schedule.seed, epoch])
    groups: dict[object, list[int]] = {}
    for number in random.permutation(len(schedule.forms)).tolist():
        groups.setdefault(schedule.forms[number], []).append(number)
    size = schedule.batch
    batches = []
    for group in groups.values():
        for start in range(0, len(group), WINDOW * size):
            window = group[start : start + WINDOW * size]
            window = window[: len(window) // size * size]
            window.sort(key=lambda n: schedule.lengths[n])
            batches += [window[i : i + size] for i in range(0, len(window), size)]
    return [batches[i] for i in random.permutation(len(batches))]


def collate(samples: Samples) -> Batch:
    """Stack samples; those of texts are padded to the longest, on the right, masked."""
    feeds = samples.feeds
    length = max(feed[MASK].shape[1] for feed in feeds) if MASK in feeds[0] else 0
    inputs = {}
    for name in feeds[0]:
        fill = samples.padding if name == IDS else 0
        rows = [_padded(feed, name, length, fill) for feed in feeds]
        inputs[name] = np.concatenate(rows)
    return Batch(inputs, samples.labels)


def _padded(feed: Feed, name: str, length: int, fill: int) -> Array:
    array = feed[name]
    if MASK not in feed or array.shape[:2] != feed[MASK].shape or array.shape[1] == length:
        return array
    padded = np.full((1, length, *array.shape[2:]), fill, array.dtype)
    padded[:, : array.shape[1]] = array
    return padded


def in_batches(samples: Samples, batch: int) -> Iterator[tuple[list[int], Batch]]:
    """Yield all samples once, in batches of like shape: their numbers, and the batch."""
    groups: dict[object, list[int]] = {}
    for number, feed in enumerate(samples.feeds):
        form = () if MASK in feed else tuple(feed[n].shape for n in sorted(feed))
        groups.setdefault(form, []).append(number)
    for group in groups.values():
        group.sort(key=lambda n: next(iter(samples.feeds[n].values())).shape)
        for start in range(0, len(group), batch):
            numbers = group[start : start + batch]
            yield numbers, collate(samples.take(numbers))
