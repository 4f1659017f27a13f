"""Accuracy: how near answers are to the float model's, padding left out."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgecompile.evaluate.accuracy import agreement, compare, cosine, metric_of

NAN = float("nan")


SMOKE = Path(__file__).parents[2] / "edgecompile" / "device" / "smoke.py"


def floats(*rows: object) -> np.ndarray:
    """Return a float32 array."""
    return np.array(rows, np.float32)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 0], [1, 0], 1),
        ([1, 0], [5, 0], 1),
        ([1, 0], [0, 1], 0),
        ([1, 0], [-1, 0], -1),
        ([1, 0], [1, 1], np.sqrt(0.5)),
        ([3, 4], [4, 3], 0.96),
        ([1e-20, 0], [1, 0], 1),
        ([0, 0], [1, 0], 0),
    ],
)
def test_cosine_of_one_vector(a: list[float], b: list[float], expected: float) -> None:
    """Cosine is that of the angle: length does not matter, and a zero vector is near nothing."""
    assert cosine(floats(a), floats(b), None) == pytest.approx(expected, abs=1e-7)
    assert cosine(floats(b), floats(a), None) == pytest.approx(expected, abs=1e-7)


def test_cosine_is_computed_in_double() -> None:
    """A difference far below float32's precision of 1 still shows."""
    a, b = np.ones((1, 384), np.float32), np.ones((1, 384), np.float32)
    b[0, 0] += 1e-3
    assert 0 < 1 - cosine(a, b, None) < 1e-8


def test_cosine_is_the_mean_over_valid_tokens() -> None:
    """Each token counts alike, and padding does not count."""
    a = floats([[1, 0], [1, 0], [1, 0]])
    b = floats([[1, 0], [0, 1], [-1, 0]])
    assert cosine(a, b, None) == pytest.approx(0)
    assert cosine(a, b, np.array([[True, True, False]])) == pytest.approx(0.5)
    assert cosine(a, b, np.array([[True, False, False]])) == pytest.approx(1)


def test_padding_may_hold_anything() -> None:
    """Even NaN in a padded token is not looked at; in a valid one it is."""
    a = floats([[1, 0], [NAN, 0]])
    b = floats([[1, 0], [1, 0]])
    assert cosine(a, b, np.array([[True, False]])) == pytest.approx(1)
    assert agreement(a, b, np.array([[True, False]])) == 1
    assert cosine(a, b, np.array([[True, True]])) == -1
    assert agreement(a, b, np.array([[True, True]])) == 0.5


def test_pooled_output_has_no_padding() -> None:
    """A sentence's one vector is compared whole, whatever the mask says of its tokens."""
    a, b = floats([1, 2, 3]), floats([1, 2, 3])
    assert cosine(a, b, np.array([[True, False, False]])) == pytest.approx(1)
    assert agreement(a, b, np.array([[False, False, False]])) == 1


@pytest.mark.parametrize("place", [0, 1])
def test_nan_counts_as_the_worst(place: int) -> None:
    """NaN in either model's answer is the worst cosine there is, not a number to be skipped."""
    pair = [floats([1, 0], [1, 0]), floats([1, 0], [1, 0])]
    pair[place][1, 1] = NAN
    assert cosine(*pair, None) == -1


def test_agreement_is_how_often_the_largest_is_the_same() -> None:
    """Only the place of the largest logit matters."""
    a = floats([[1, 2, 3], [3, 2, 1], [0, 9, 1], [5, 0, 0]])
    b = floats([[0, 0, 9], [3, 2, 1], [0, 1, 9], [5, 0, 0]])
    assert agreement(a, b, None) == 0.75
    assert agreement(a, b, np.array([[True, True, True, False]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_answer_that_is_no_number_agrees_with_nothing(bad: float) -> None:
    """Logits that hold NaN or infinity do not agree, even where the largest seems the same."""
    a, b = floats([bad, 0, 9], [0, 0, 9]), floats([0, 0, 9], [0, 0, 9])
    assert agreement(a, b, None) == 0.5


def feed(*mask: int) -> dict[str, np.ndarray]:
    """Return a sample of so many tokens."""
    return {"attention_mask": np.array([mask])}


def test_compare_gives_mean_and_worst_of_the_samples() -> None:
    """Each sample is scored alone: mean, worst and number are those of the scores."""
    expected = [[floats([1, 0])], [floats([1, 0])], [floats([1, 0])]]
    answers = [[floats([1, 0])], [floats([0, 1])], [floats([3, 4])]]
    found = compare("cosine", answers, expected, [feed(1)] * 3)
    assert (found.metric, found.samples) == ("cosine", 3)
    assert found.mean == pytest.approx(1.6 / 3)
    assert found.min == pytest.approx(0, abs=1e-7)


def test_compare_takes_the_worst_of_several_outputs() -> None:
    """A sample is as good as its worst output."""
    expected = [[floats([1, 0]), floats([1, 0])]]
    answers = [[floats([1, 0]), floats([3, 4])]]
    assert compare("cosine", answers, expected, [feed(1)]).mean == pytest.approx(0.6)


def test_compare_leaves_each_samples_padding_out() -> None:
    """The mask of a sample applies to that sample's tokens."""
    truth = floats([[1, 0], [1, 0]])
    answer = floats([[1, 0], [0, 1]])
    found = compare("cosine", [[answer], [answer]], [[truth], [truth]], [feed(1, 0), feed(1, 1)])
    assert (found.mean, found.min) == (pytest.approx(0.75), pytest.approx(0.5))


def test_compare_counts_agreement() -> None:
    """The metric's name decides how samples are scored."""
    expected = [[floats([0, 1])], [floats([0, 1])]]
    answers = [[floats([4, 5])], [floats([5, 4])]]
    found = compare("agreement", answers, expected, [feed(1)] * 2)
    assert (found.metric, found.mean, found.min, found.samples) == ("agreement", 0.5, 0.0, 2)


@pytest.mark.parametrize("cut", ["answers", "outputs", "feeds"])
def test_compare_wants_an_answer_for_each_question(cut: str) -> None:
    """Answers, outputs or samples that do not pair up are an error, not a shorter mean."""
    expected = [[floats([1, 0]), floats([1, 0])]] * 2
    answers = [list(outputs) for outputs in expected]
    feeds = [feed(1)] * 2
    if cut == "answers":
        answers = answers[:1]
    elif cut == "outputs":
        answers[1] = answers[1][:1]
    else:
        feeds = feeds[:1]
    with pytest.raises(ValueError, match=r"zip\(\) argument"):
        compare("cosine", answers, expected, feeds)


@pytest.mark.parametrize(
    ("outputs", "metric"),
    [
        (["logits"], "agreement"),
        (["sentence_embedding"], "cosine"),
        (["last_hidden_state"], "cosine"),
    ],
)
def test_metric_goes_by_the_outputs(outputs: list[str], metric: str) -> None:
    """A classifier is judged by its decisions, embeddings and states by their direction."""
    assert metric_of(outputs, [floats([1, 2])]) == metric


def test_a_single_number_is_judged_by_its_signal() -> None:
    """A regression has no direction and no largest entry: cosine and argmax would see nothing."""
    assert metric_of(["logits"], [floats([1])]) == "signal"
    expected = [[floats([x])] for x in (0.1, 0.5, 0.9)]
    flat = compare("signal", [[floats([0.5])]] * 3, expected, [feed(1)] * 3)
    near = compare("signal", [[e[0] + 0.01] for e in expected], expected, [feed(1)] * 3)
    assert flat.mean == pytest.approx(0, abs=1e-6)
    assert near.mean > 0.99


def test_the_same_answer_to_everything_has_no_signal() -> None:
    """A classifier whose float model favours one class may agree always and still be dead."""
    expected = [[floats([3, 1])], [floats([5, 1])], [floats([9, 1])]]
    dead = [[floats([4, 1])]] * 3
    found = compare("agreement", dead, expected, [feed(1)] * 3)
    assert found.mean == 1
    assert found.signal < 0.1
    same = compare("agreement", expected, expected, [feed(1)] * 3)
    assert same.signal == 1


def test_the_device_scores_as_the_build_does() -> None:
    """smoke.py, which shares no code with the package, gives the same three figures."""
    spec = importlib.util.spec_from_file_location("smoke", SMOKE)
    assert spec is not None
    assert spec.loader is not None
    smoke = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(smoke)
    random = np.random.default_rng(0)
    for metric in ("cosine", "agreement", "next-token", "signal"):
        for shape in ((1, 4), (1, 3, 4), (1, 1), (1,)):
            truths = [random.normal(size=shape).astype(np.float32) for _ in range(5)]
            truths[0][...] = 0
            answers = [t + np.float32(0.3) * (i > 0) * t**2 for i, t in enumerate(truths)]
            feeds = [{"attention_mask": np.array([[1, 1, 0]])}] * 5
            built = compare(metric, [[a] for a in answers], [[t] for t in truths], feeds)
            rows = [
                [tuple(smoke.rows(np, x, feeds[0]["attention_mask"]) for x in pair)]
                for pair in zip(answers, truths, strict=True)
            ]
            found = smoke.judge(np, metric, rows, ["y"])
            assert found == pytest.approx((built.mean, built.min, built.signal), abs=1e-6)


def test_next_tokens_have_a_metric_of_their_own() -> None:
    """Logits over a vocabulary, or beside a cache: near ties are many there."""
    small, large = floats([1, 2]), np.zeros((1, 3, 30_000), np.float32)
    assert metric_of(["logits"], [large]) == "next-token"
    assert metric_of(["logits", "present.0.key"], [small, small]) == "next-token"
    assert metric_of(["logits", "hidden"], [small, large]) == "agreement"


def test_signal_takes_outputs_whose_width_follows_the_text() -> None:
    """Start and end scores [1, S], say: each number counts, whatever the sample's length."""
    expected = [[floats([1, 2, 3])], [floats([4, 5])]]
    assert compare("cosine", expected, expected, [{}, {}]).signal == 1
    wrong = [[floats([2, 2, 2])], [floats([2, 2])]]
    assert compare("cosine", wrong, expected, [{}, {}]).signal < 0


def test_argmax_is_asked_of_logits_and_cosine_of_the_cache() -> None:
    """A decoder's keys point somewhere: their largest number is no answer. The worst counts."""
    names = ["logits", "present.0.key"]
    truth = [floats([0, 1]).reshape(1, 2), floats([1, 0.99]).reshape(1, 1, 1, 2)]
    answer = [floats([0, 9]).reshape(1, 2), floats([0.99, 1]).reshape(1, 1, 1, 2)]
    assert compare("agreement", [answer], [truth], [{}], names).mean > 0.999
    answer[1] = -answer[1]
    assert compare("agreement", [answer], [truth], [{}], names).mean < 0
    assert compare("agreement", [truth], [truth], [{}], names).mean == 1
