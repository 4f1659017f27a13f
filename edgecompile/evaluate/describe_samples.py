"""How an artifact answered each golden sample: what a report shows of its accuracy."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecompile.data.feed import Feed, valid_tokens
from edgecompile.evaluate.accuracy import LOGITS, scores_of
from edgecompile.graph import FloatArray

SCHEMA = 1
MOST_POINTS, LONGEST_TEXT = 400, 600
PAIRS = "cosine between the answers to two samples"
VALUES = "numbers of the answers"


@dataclass(frozen=True, slots=True)
class Answered:
    """An artifact's answers and the float model's to the same samples, a list of outputs each.

    `outputs` are their names; `texts` are the samples', or none.
    """

    answers: Sequence[Sequence[FloatArray]]
    expected: Sequence[Sequence[FloatArray]]
    feeds: Sequence[Feed]
    outputs: Sequence[str]
    texts: Sequence[str] = ()


def describe_samples(metric: str, found: Answered, examples: int) -> dict[str, Any]:
    """Return each sample's score, the worst `examples` of them, and points of float and artifact.

    A score is a sample's own, 1 being float's answer. Texts are cut to LONGEST_TEXT characters.
    """
    scores = scores_of(metric, found.answers, found.expected, found.feeds, found.outputs)
    order = sorted(range(len(scores)), key=lambda n: (scores[n], n))
    worst = [
        {
            "sample": number + 1,
            "score": round(scores[number], 6),
            "tokens": _tokens(found.feeds[number]),
            "text": found.texts[number][:LONGEST_TEXT] if found.texts else "",
        }
        for number in order[:examples]
    ]
    return {
        "schema": SCHEMA,
        "metric": metric,
        "scores": [round(score, 6) for score in scores],
        "tokens": [_tokens(feed) for feed in found.feeds],
        "worst": worst,
        "scatter": _scatter(metric, found),
    }


def _tokens(feed: Feed) -> int:
    """Return how many tokens a sample has; 0 where it is no row of them."""
    valid = valid_tokens(feed)
    if valid is not None:
        return int(valid.sum())
    ids = feed.get("input_ids")
    return 0 if ids is None else int(ids.size)


def _scatter(metric: str, found: Answered) -> dict[str, Any]:
    """Return points (float, artifact): of embeddings the similarity of pairs, what they are for.

    Of everything else, numbers of the answers themselves, evenly chosen.
    """
    index = found.outputs.index(LOGITS) if LOGITS in found.outputs else 0
    sides = [[rows[index] for rows in side] for side in (found.expected, found.answers)]
    if metric == "cosine":
        points = [_similarities(side, found.feeds) for side in sides]
    else:
        points = [np.concatenate([_some(array) for array in side]) for side in sides]
    finite = np.isfinite(points[0]) & np.isfinite(points[1])
    truths, ours = (side[finite] for side in points)
    chosen = np.unique(np.linspace(0, len(truths) - 1, MOST_POINTS).astype(int))
    chosen = chosen if len(truths) else chosen[:0]
    return {
        "what": PAIRS if metric == "cosine" else VALUES,
        "float": [float(f"{x:.5g}") for x in truths[chosen]],
        "artifact": [float(f"{x:.5g}") for x in ours[chosen]],
    }


def _some(array: FloatArray) -> FloatArray:
    """Return evenly chosen numbers: logits over a vocabulary are many."""
    flat = array.ravel()
    return flat[:: max(len(flat) // MOST_POINTS, 1)]


def _similarities(answers: Sequence[FloatArray], feeds: Sequence[Feed]) -> FloatArray:
    """Return the cosines of all pairs of samples, each the mean over its valid tokens, [pairs]."""
    rows = []
    for array, feed in zip(answers, feeds, strict=True):
        valid = valid_tokens(feed)
        by_token = valid is not None and array.ndim == 3 and array.shape[:2] == valid.shape
        rows.append((array[valid] if by_token else array.reshape(-1, array.shape[-1])).mean(axis=0))
    if len({row.shape for row in rows}) > 1:
        return np.zeros(0)
    unit = np.stack(
        [row.astype(np.float64) / max(float(np.linalg.norm(row)), 1e-30) for row in rows]
    )
    pairs = list(itertools.combinations(range(len(unit)), 2))
    return np.array([unit[i] @ unit[j] for i, j in pairs]) if pairs else np.zeros(0)
