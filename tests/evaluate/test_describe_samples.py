"""How each sample was answered: the worst first, with its text, and points to draw."""

import numpy as np
import pytest

from edgecompile.evaluate.describe_samples import (
    LONGEST_TEXT,
    MOST_POINTS,
    PAIRS,
    VALUES,
    Answered,
    describe_samples,
)


def answered(outputs: list[str], width: int = 8) -> Answered:
    """Return 20 samples; each one's answer is off by more than the one's before it."""
    random = np.random.default_rng(0)
    expected = [[random.normal(size=(1, width)).astype(np.float32)] for _ in range(20)]
    answers = [
        [rows[0] + random.normal(size=(1, width)) * n * 0.02] for n, rows in enumerate(expected)
    ]
    feeds = [{"attention_mask": np.ones((1, n + 1), np.int64)} for n in range(20)]
    texts = [f"text {n} " + "x" * 1000 for n in range(20)]
    return Answered(answers, expected, feeds, outputs, texts)


def test_the_worst_samples_are_kept_with_their_texts() -> None:
    """As many as asked for, the worst first, their texts cut; the others' are not kept."""
    found = describe_samples("cosine", answered(["embedding"]), 3)
    scores = [row["score"] for row in found["worst"]]
    assert scores == sorted(found["scores"])[:3]
    first = found["worst"][0]
    assert first["text"].startswith(f"text {first['sample'] - 1} ")
    assert len(first["text"]) == LONGEST_TEXT
    assert first["tokens"] == first["sample"]
    assert describe_samples("cosine", answered(["embedding"]), 0)["worst"] == []


def test_embeddings_are_drawn_by_what_they_are_for() -> None:
    """The similarity of pairs; logits by their numbers. Never more points than a chart needs."""
    pairs = describe_samples("cosine", answered(["embedding"]), 1)["scatter"]
    assert pairs["what"] == PAIRS
    assert len(pairs["float"]) == len(pairs["artifact"]) == 190
    assert np.corrcoef(pairs["float"], pairs["artifact"])[0, 1] > 0.9
    values = describe_samples("agreement", answered(["logits"], 5000), 1)["scatter"]
    assert values["what"] == VALUES
    assert 100 < len(values["float"]) <= MOST_POINTS


@pytest.mark.parametrize("metric", ["cosine", "agreement"])
def test_answers_that_are_no_numbers_are_not_drawn(metric: str) -> None:
    """NaN has no place in a chart, nor in JSON."""
    given = answered(["logits" if metric == "agreement" else "embedding"])
    given.answers[3][0][:] = np.nan
    scatter = describe_samples(metric, given, 1)["scatter"]
    assert np.isfinite(scatter["artifact"]).all()
    assert len(scatter["artifact"]) == len(scatter["float"]) > 0
