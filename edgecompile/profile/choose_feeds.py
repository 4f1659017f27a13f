"""What a model is timed on: texts of the lengths wished for, a step of a decoder, or a sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.data.limits import takes_any_length
from edgecompile.parts import has_cache
from edgecompile.probe_feeds import Sizes, random_feed

PREFILL, DECODE = "prefill", "decode"
STATES = "encoder_hidden_states"


@dataclass(frozen=True, slots=True)
class Timed:
    """A feed, how many tokens it has, and what a decoder does with them.

    In the phase "decode" it reads one token, and `sequence` are in its cache.
    """

    sequence: int
    feed: Feed
    phase: str = ""


def choose_feeds(
    model: ir.Model, golden: Sequence[Feed], wishes: Sequence[int], longest: int
) -> list[Timed]:
    """Return feeds of the lengths wished for, as far as the model takes them.

    A cache and states are random numbers: time does not depend on them. A model whose inputs are
    no rows of tokens is timed on its largest golden sample.
    """
    if has_cache(model):
        return _steps(model, [n for n in wishes if n < longest] or [max(longest - 1, 1)])
    lengths = [n for n in wishes if n <= longest] or [longest]
    if any(value.name == STATES for value in model.graph.inputs):
        return [Timed(n, random_feed(model, 0, Sizes(1, n, 0, n)), PREFILL) for n in lengths]
    largest = max(golden, key=lambda feed: sum(a.size for a in feed.values()))
    if takes_any_length(model):
        return [Timed(n, resize(largest, n)) for n in lengths]
    return [Timed(max(a.shape[1] if a.ndim > 1 else 1 for a in largest.values()), largest)]


def _steps(model: ir.Model, lengths: Sequence[int]) -> list[Timed]:
    """Return a step after each length; where the cache starts empty, the prefill too."""
    steps = [Timed(n, random_feed(model, 0, Sizes(1, 1, n, n)), DECODE) for n in lengths]
    if any(".encoder." in str(value.name) for value in model.graph.inputs):
        return steps
    return steps + [Timed(n, random_feed(model, 0, Sizes(1, n, 0, n)), PREFILL) for n in lengths]


def resize(feed: Feed, length: int) -> Feed:
    """Return a feed with its token rows, [1, S], repeated or cut to `length`."""
    return {name: np.resize(a, (1, length)) if a.ndim == 2 else a for name, a in feed.items()}
