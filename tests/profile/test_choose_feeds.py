"""What a model is timed on."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.profile.choose_feeds import DECODE, PREFILL, choose_feeds, resize

Parse = Callable[..., ir.Model]

TEXT = "(int64[b,s] input_ids, int64[b,s] attention_mask) => (int64[b,s] y)"
ADD = "{ y = Add(input_ids, attention_mask) }"
GOLDEN = [
    {name: np.ones((1, length), np.int64) for name in ("input_ids", "attention_mask")}
    for length in (5, 9)
]


def renamed(model: ir.Model, **names: str) -> ir.Model:
    """Rename inputs."""
    for value in model.graph.inputs:
        value.name = names.get(str(value.name), value.name)
    return model


@pytest.mark.parametrize(
    ("length", "expected"), [(2, [[1, 2]]), (3, [[1, 2, 3]]), (7, [[1, 2, 3, 1, 2, 3, 1]])]
)
def test_feed_is_resized(length: int, expected: list[list[int]]) -> None:
    """Token rows are cut or repeated to the length; what is no token row stays."""
    image = np.zeros((1, 3, 4, 4), np.float32)
    feed = {"ids": np.array([[1, 2, 3]]), "mask": np.ones((1, 3), np.int64), "image": image}
    found = resize(feed, length)
    np.testing.assert_array_equal(found["ids"], expected)
    np.testing.assert_array_equal(found["mask"], np.ones((1, length)))
    assert found["ids"].dtype == np.int64
    assert found["image"] is image
    assert feed["ids"].shape == (1, 3)


def test_texts_have_the_lengths_wished_for(graph: Parse) -> None:
    """As far as the model takes them; at least its longest."""
    model = graph(f"{TEXT} {ADD}")
    assert [t.sequence for t in choose_feeds(model, GOLDEN, (4, 16, 64), 16)] == [4, 16]
    (timed,) = choose_feeds(model, GOLDEN, (64,), 16)
    assert (timed.sequence, timed.phase) == (16, "")
    assert timed.feed["input_ids"].shape == (1, 16)


def test_what_is_no_text_is_timed_on_its_largest_sample(graph: Parse) -> None:
    """An image has no length to choose."""
    model = graph("(float[b,3,4,4] x) => (float[b,3,4,4] y) { y = Neg(x) }")
    golden = [{"x": np.full((1, 3, 4, 4), n, np.float32)} for n in range(2)]
    (timed,) = choose_feeds(model, golden, (16, 64), 512)
    assert timed.feed is golden[0]


def test_a_decoder_is_timed_on_a_step_and_on_the_prompt(graph: Parse) -> None:
    """A step reads one token after N in the cache, the prompt N after none."""
    text = """(int64[b,s] input_ids, int64[b,total_length] attention_mask,
        float[b,2,past_length,4] past) => (float[b,2,past_length,4] y) { y = Neg(past) }"""
    model = renamed(graph(text), past="past_key_values.0.key")
    feeds = choose_feeds(model, [], (4, 8, 16), 16)
    assert [(t.sequence, t.phase) for t in feeds] == [
        (4, DECODE), (8, DECODE), (4, PREFILL), (8, PREFILL)
    ]  # fmt: skip
    shapes = [[a.shape for a in t.feed.values()] for t in (feeds[1], feeds[3])]
    assert shapes == [[(1, 1), (1, 9), (1, 2, 8, 4)], [(1, 8), (1, 8), (1, 2, 0, 4)]]


def test_a_step_of_an_encoder_decoder_has_as_many_source_tokens(graph: Parse) -> None:
    """Its prompt is another graph: this one is timed on steps alone."""
    text = """(int64[b,s] input_ids, float[b,2,past_length,4] own,
        float[b,2,encoder_sequence_length,4] source) => (float[b,2,past_length,4] y)
        { y = Neg(own) }"""
    names = {"own": "past_key_values.0.decoder.key", "source": "past_key_values.0.encoder.key"}
    (timed,) = choose_feeds(renamed(graph(text), **names), [], (8,), 512)
    assert [a.shape for a in timed.feed.values()] == [(1, 1), (1, 2, 8, 4), (1, 2, 8, 4)]
    assert timed.phase == DECODE
