"""Accuracy of two bundles: the same golden inputs answered again, and what the builds recorded."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.bundles.read_bundle import ReadBundle
from edgecompile.bundles.run_golden import DRIFT, Golden, answer, same_inputs, scores
from edgecompile.compare.change import BETTER, CHANGED, SAME, UNCLEAR, WORSE, Change
from edgecompile.compare.significance import CHANCE, FEWEST_PAIRS, swap_test

if TYPE_CHECKING:
    from edgecompile.graph import FloatArray

SECTION = "accuracy"
MATTERS = 0.001
"""A smaller drop of the mean score is no regression, however sure."""
ROUGH = 0.01
"""The drop that is one even where there are too few samples to be sure."""


def compare_recorded(old: ReadBundle, new: ReadBundle) -> Iterator[Change]:
    """Compare what the builds measured: on all their samples, but without each one's score."""
    same_data = old.manifest.get("evaluation") == new.manifest.get("evaluation")
    for key, label in (("accuracy", "recorded"), ("accuracy_emulated", "recorded, emulated")):
        before, after = (bundle.manifest.get(key) for bundle in (old, new))
        if not (isinstance(before, dict) and isinstance(after, dict)):
            continue
        if not (_scored(before) and _scored(after)):
            continue
        metric, other = str(after["metric"]), before["metric"]
        for which in ("mean", "min"):
            was, now = float(before[which]), float(after[which])
            verdict, why = _by_size(now - was, DRIFT.get(metric, ROUGH)), "not paired"
            if metric != other or not same_data:
                verdict = CHANGED
                why = "on other data" if metric == other else f"{other} before"
            elif which == "min" and verdict != SAME:
                verdict, why = UNCLEAR, "one sample alone"
            yield Change(SECTION, f"{metric}, {which}, {label}", was, now, "", verdict, why)


def compare_answers(
    old: ReadBundle, new: ReadBundle, golden: tuple[Golden, Golden]
) -> Iterator[Change]:
    """Run both artifacts on their golden vectors and compare sample by sample.

    Each is held against its own float model. Where the questions are the same, the float models'
    answers are compared too: other answers mean another model.
    """
    from edgecompile.evaluate.accuracy import compare

    metric, other = (str(bundle.manifest["accuracy"]["metric"]) for bundle in (new, old))
    if metric != other or not same_inputs(*golden):
        why = "the golden inputs are others: nothing can be paired"
        yield Change(SECTION, "golden samples", None, None, "", CHANGED, why)
        return
    agreed = compare(
        metric, golden[1].expected, golden[0].expected, golden[0].feeds, golden[0].outputs
    )
    if agreed.mean < 1 - 1e-6:
        why = f"float's own answers: {metric} of new to old; another model"
        yield Change(SECTION, "the model's answers", 1.0, agreed.mean, "", CHANGED, why)
    pairs = zip((old, new), golden, strict=True)
    before, after = (scores(bundle, asked, answer(bundle, asked)) for bundle, asked in pairs)
    yield _paired(metric, before, after)


def _paired(metric: str, before: "FloatArray", after: "FloatArray") -> Change:
    gain, count = float(np.mean(after - before)), len(before)
    chance = swap_test(after - before)
    if not np.any(after != before):
        verdict, why = SAME, f"all {count} samples"
    elif count < FEWEST_PAIRS:
        verdict, why = _by_size(gain, ROUGH), f"{count} samples are too few for a test"
    else:
        verdict = _by_size(gain, MATTERS)
        why = f"paired over {count} samples: p = {chance:.2g}"
        if verdict in (WORSE, BETTER) and chance >= CHANCE:
            verdict = UNCLEAR
    name = f"{metric}, mean, golden samples run here"
    return Change(SECTION, name, float(before.mean()), float(after.mean()), "", verdict, why)


def _by_size(gain: float, matters: float) -> str:
    if abs(gain) <= matters:
        return SAME
    return BETTER if gain > 0 else WORSE


def _scored(table: Mapping[str, Any]) -> bool:
    return all(isinstance(table.get(key), int | float) for key in ("mean", "min"))
