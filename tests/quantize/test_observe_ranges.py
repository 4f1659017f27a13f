"""What calibration keeps of the tensors that Linears read."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.errors import DataError
from edgecompile.quantize.observe_ranges import observe_ranges

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]

RANDOM = np.random.default_rng(20)
NUMBERS: dict[str, Any] = {
    "w": RANDOM.normal(size=(8, 4)).astype(np.float32),
    "v": RANDOM.normal(size=(4, 8)).astype(np.float32),
    "first": np.array(0),
}
TEXT = """(float[b,s,8] x, int64[b,s] attention_mask) => (float[b,s,8] y)
    { h = MatMul(x, w) r = Relu(h) y = MatMul(r, v) }"""
WITHOUT_MASK = TEXT.replace(", int64[b,s] attention_mask", "")


@pytest.fixture
def model(graph: Parse) -> ir.Model:
    """Return x -> Linear -> Relu -> Linear, with an attention mask."""
    return graph(TEXT, **NUMBERS)


def feeds(*lengths: int, padded: int = 0) -> list[dict[str, Array]]:
    """Return a sample a length, with padding after it that is far out of range."""
    found = []
    for number, length in enumerate(lengths):
        random = np.random.default_rng(number)
        x = random.normal(size=(1, length + padded, 8)).astype(np.float32)
        x[:, length:] = 1000
        mask = (np.arange(length + padded) < length).astype(np.int64)[None]
        found.append({"x": x, "attention_mask": mask})
    return found


def tokens(samples: list[dict[str, Array]]) -> Array:
    """Return all valid tokens, [tokens, 8]."""
    return np.concatenate([f["x"][f["attention_mask"] == 1] for f in samples])


def test_ranges_and_means_are_numpys(model: ir.Model) -> None:
    """Minimum, maximum, sum and count by channel, over all tokens of all samples."""
    samples = feeds(5, 1, 9)
    observed = observe_ranges(model, samples)
    x = tokens(samples)
    relu = np.maximum(x.astype(np.float64) @ NUMBERS["w"], 0)
    assert sorted(observed) == ["r", "x"]
    for name, rows in (("x", x), ("r", relu)):
        seen = observed[name]
        assert seen.tokens == 15
        np.testing.assert_allclose(seen.low, rows.min(axis=0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(seen.high, rows.max(axis=0), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(seen.mean, rows.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(seen.peak, np.abs(rows).max(axis=0), rtol=1e-6, atol=1e-6)


def test_outputs_are_observed_where_asked(model: ir.Model) -> None:
    """What each Linear gives, before what comes behind it."""
    samples = feeds(5, 1, 9)
    observed = observe_ranges(model, samples, outputs=True)
    assert sorted(observed) == ["h", "r", "x", "y"]
    h = tokens(samples) @ NUMBERS["w"]
    np.testing.assert_allclose(observed["h"].low, h.min(axis=0), rtol=1e-5)
    np.testing.assert_allclose(observed["h"].high, h.max(axis=0), rtol=1e-5)


def test_padding_is_left_out(model: ir.Model) -> None:
    """Samples with padding show what they show without."""
    plain, padded = (observe_ranges(model, feeds(5, 3, padded=n)) for n in (0, 4))
    for name, seen in plain.items():
        assert padded[name].tokens == seen.tokens == 8
        for kept in ("low", "high", "mean"):
            np.testing.assert_allclose(
                getattr(padded[name], kept), getattr(seen, kept), rtol=1e-6, atol=1e-7
            )


def test_without_a_mask_every_token_counts(graph: Parse) -> None:
    """A model that takes no attention_mask has no padding."""
    samples = [{"x": f["x"]} for f in feeds(5, padded=2)]
    seen = observe_ranges(graph(WITHOUT_MASK, **NUMBERS), samples)["x"]
    assert seen.tokens == 7
    np.testing.assert_array_equal(seen.high, np.full(8, 1000))


def test_tensors_without_a_sequence_count_whole(graph: Parse) -> None:
    """A pooled tensor [B, C] has one row a sample, whatever its tokens' mask says."""
    text = TEXT.replace("r = Relu(h)", "r = Gather<axis = 1>(h, first)").replace(
        "[b,s,8] y", "[b,8] y"
    )
    seen = observe_ranges(graph(text, **NUMBERS), feeds(5, 3, padded=2))
    assert (seen["x"].tokens, seen["r"].tokens) == (8, 2)


def test_samples_are_streamed(model: ir.Model) -> None:
    """A generator is read once, sample by sample: nothing of it is kept."""
    read = []

    def stream() -> Iterator[dict[str, Array]]:
        for number, sample in enumerate(feeds(2, 2, 2)):
            read.append(number)
            yield sample

    assert observe_ranges(model, stream())["x"].tokens == 6
    assert read == [0, 1, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_told(model: ir.Model, bad: float) -> None:
    """NaN and infinity in a valid token name the first tensor that they reach."""
    samples = feeds(5, 3)
    samples[1]["x"][0, 2, 4] = bad
    with pytest.raises(DataError) as error:
        observe_ranges(model, samples)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("became NaN or infinite in float: the model or data is bad")


def test_a_number_that_is_none_in_padding_is_no_matter(model: ir.Model) -> None:
    """What the mask hides may be anything."""
    samples = feeds(5, padded=2)
    samples[0]["x"][0, 6] = np.nan
    assert np.isfinite(observe_ranges(model, samples)["x"].high).all()


def test_a_sample_of_padding_alone_is_told(model: ir.Model) -> None:
    """A row of an .npz that holds padding alone shows nothing: that is a mistake in the data."""
    samples = feeds(5, 3)
    samples[1]["attention_mask"][:] = 0
    with pytest.raises(DataError) as error:
        observe_ranges(model, samples)
    assert str(error.value) == "calibration sample 2 holds no token that is not padding"


def test_a_graph_without_linears_shows_nothing(graph: Parse) -> None:
    """Nothing to quantize is not an error here."""
    model = graph("(float[b,s,8] x) => (float[b,s,8] y) { y = Relu(x) }")
    assert observe_ranges(model, [{"x": np.ones((1, 2, 8), np.float32)}]) == {}


@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6), padded=st.integers(0, 5))
def test_how_samples_are_cut_does_not_matter(graph: Parse, lengths: list[int], padded: int) -> None:
    """Many short samples show what one long one with the same tokens shows."""
    model = graph(TEXT, **NUMBERS)
    samples = feeds(*lengths, padded=padded)
    whole = tokens(samples)[None]
    joined = {"x": whole, "attention_mask": np.ones(whole.shape[:2], np.int64)}
    parts, one = observe_ranges(model, samples), observe_ranges(model, [joined])
    for name, seen in one.items():
        assert parts[name].tokens == seen.tokens
        for kept in ("low", "high", "mean"):
            np.testing.assert_allclose(
                getattr(parts[name], kept), getattr(seen, kept), rtol=1e-5, atol=1e-6
            )
