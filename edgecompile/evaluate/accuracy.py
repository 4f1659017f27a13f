"""How near an artifact's answers are to the float model's."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgecompile.graph import FloatArray
from edgecompile.samples import Feed, valid_tokens


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean and worst score over the samples, 1 being the same answers as float."""

    metric: str
    mean: float
    min: float
    samples: int


def metric_of(outputs: Sequence[str]) -> str:
    """Return "agreement" (of argmax) for a classifier, "cosine" for embeddings and states."""
    return "agreement" if "logits" in outputs else "cosine"


def compare(
    metric: str,
    answers: Sequence[Sequence[FloatArray]],
    expected: Sequence[Sequence[FloatArray]],
    feeds: Sequence[Feed],
) -> Accuracy:
    """Compare answers with the float model's, one list of outputs a sample."""
    score = cosine if metric == "cosine" else agreement
    scores = [
        min(score(a, b, valid_tokens(feed)) for a, b in zip(answer, truth, strict=True))
        for answer, truth, feed in zip(answers, expected, feeds, strict=True)
    ]
    return Accuracy(metric, float(np.mean(scores)), float(np.min(scores)), len(scores))


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
    return x.reshape(-1, x.shape[-1])
