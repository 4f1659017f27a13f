"""How near an artifact's answers are to the float model's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecompile.data.feed import Feed, valid_tokens
from edgecompile.graph import FloatArray

LOGITS = "logits"
"""The output whose largest entry is the answer."""
ARGMAX = ("agreement", "next-token")
VOCABULARY = 1000
"""Classes from which on logits are taken for those of tokens."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean and worst score over the samples, 1 being the same answers as float.

    `signal` is how much of what distinguishes the float model's answers from each other the
    artifact gives too (R^2 over all samples): a model that always answers the same has none.
    """

    metric: str
    mean: float
    min: float
    samples: int
    signal: float


def metric_of(outputs: Sequence[str], answer: Sequence[FloatArray]) -> str:
    """Return "agreement" (of argmax) for a classifier, "cosine" for embeddings and states.

    A single number, as a regression or cross-encoder gives it, has neither a direction nor a
    largest entry: it is judged by its "signal". Logits over a vocabulary are argmax's too, but
    many tokens are near ties: "next-token" has a floor of its own.
    """
    if any(array.shape[-1:] in ((), (1,)) for array in answer):
        return "signal"
    if LOGITS not in outputs:
        return "cosine"
    vocabulary = answer[outputs.index(LOGITS)].shape[-1] >= VOCABULARY
    cache = any(name.startswith("present") for name in outputs)
    return "next-token" if vocabulary or cache else "agreement"


def compare(
    metric: str,
    answers: Sequence[Sequence[FloatArray]],
    expected: Sequence[Sequence[FloatArray]],
    feeds: Sequence[Feed],
    outputs: Sequence[str] = (),
) -> Accuracy:
    """Compare answers with the float model's, one list of outputs a sample.

    Where argmax is asked for, it is that of the logits; what `outputs` names otherwise, such as a
    cache of keys and values, is compared by cosine. A sample's score is that of its worst output.
    """
    scores = scores_of(metric, answers, expected, feeds, outputs)
    shared = signal(answers, expected, feeds)
    if metric == "signal":
        scores = [shared] * len(scores)
    return Accuracy(metric, float(np.mean(scores)), float(np.min(scores)), len(scores), shared)


def scores_of(
    metric: str,
    answers: Sequence[Sequence[FloatArray]],
    expected: Sequence[Sequence[FloatArray]],
    feeds: Sequence[Feed],
    outputs: Sequence[str] = (),
) -> list[float]:
    """Return each sample's score, as `compare` counts it; of a single number, its cosine."""
    others = {i for i, name in enumerate(outputs) if name != LOGITS} if LOGITS in outputs else set()
    return [
        min(
            agreement(a, b, valid_tokens(feed))
            if metric in ARGMAX and index not in others
            else cosine(a, b, valid_tokens(feed))
            for index, (a, b) in enumerate(zip(answer, truth, strict=True))
        )
        for answer, truth, feed in zip(answers, expected, feeds, strict=True)
    ]


def signal(
    answers: Sequence[Sequence[FloatArray]],
    expected: Sequence[Sequence[FloatArray]],
    feeds: Sequence[Feed],
) -> float:
    """Return R^2 = 1 - ||a - b||^2 / ||b - mean(b)||^2 over all samples, of the worst output.

    Where all of float's answers are the same, the mean is left in.
    """
    worst = 1.0
    for index in range(len(expected[0])):
        rows = [
            [_rows(sample[index], valid_tokens(feed)).astype(np.float64) for sample in pair]
            for *pair, feed in zip(answers, expected, feeds, strict=True)
        ]
        if len({pair[1].shape[1] for pair in rows}) > 1:  # the width follows the text's length
            rows = [[array.reshape(-1, 1) for array in pair] for pair in rows]
        a, b = (np.concatenate([row[side] for row in rows]) for side in (0, 1))
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return -1.0
        lost, whole = np.square(a - b).sum(), np.square(b - b.mean(axis=0)).sum()
        if whole <= 1e-12 * np.square(b).sum():
            whole = np.square(b).sum()
        worst = min(worst, 1.0 - float(lost / whole) if whole > 0 else float(lost == 0))
    return max(worst, -1.0)


def cosine(a: FloatArray, b: FloatArray, valid: np.ndarray | None) -> float:
    """Return the mean cosine of the last axis over valid tokens; NaN and infinity count as -1."""
    a, b = (_rows(x, valid).astype(np.float64) for x in (a, b))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -1.0
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(length, 1e-30)
    return float(np.where((a == b).all(axis=1), 1.0, cosines).mean())


def agreement(a: FloatArray, b: FloatArray, valid: np.ndarray | None) -> float:
    """Return how often the largest logit is the same one; NaN agrees with nothing."""
    a, b = _rows(a, valid), _rows(b, valid)
    same = (a.argmax(axis=1) == b.argmax(axis=1)) & np.isfinite(a).all(axis=1)
    return float(same.mean())


def _rows(x: FloatArray, valid: np.ndarray | None) -> FloatArray:
    """[1, S, C] -> [valid tokens, C]; [1, C] stays."""
    if valid is not None and x.ndim == 3 and x.shape[:2] == valid.shape:
        return np.asarray(x[valid])
    return x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
