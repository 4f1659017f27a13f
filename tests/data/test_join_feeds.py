"""Samples of equal shapes are joined where the model answers each as it does alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.data import join_feeds as module
from edgecompile.data.join_feeds import Joined, join_feeds
from edgecompile.export import read_model
from edgecompile.plan import FLOAT
from edgecompile.session import answer, session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE

LENGTHS = (4, 7, 4, 9, 7, 4)


@pytest.fixture
def encoder(checkpoint: Callable[..., Path]) -> ir.Model:
    """Return a tiny float encoder that onnxruntime runs."""
    return lower(read_model.export(read_model.find_source(checkpoint())), FLOAT, REFERENCE)


@pytest.fixture
def samples() -> list[dict[str, np.ndarray]]:
    """Return samples of three lengths."""
    random = np.random.default_rng(0)
    return [
        {
            "input_ids": random.integers(5, 100, (1, length)),
            "attention_mask": np.ones((1, length), np.int64),
            "token_type_ids": np.zeros((1, length), np.int64),
        }
        for length in LENGTHS
    ]


def test_answers_are_those_of_each_sample(
    encoder: ir.Model, samples: list[dict[str, np.ndarray]]
) -> None:
    """Joined by length, all samples are there, and each iteration gives them again."""
    joined = join_feeds(encoder, samples)
    opened = session(encoder)
    for _ in range(2):
        feeds = list(joined)
        assert [feed["input_ids"].shape for feed in feeds] == [(3, 4), (2, 7), (1, 9)]
        order = [0, 2, 5, 1, 4, 3]
        rows = [row for (states, *_) in answer(opened, feeds) for row in states]
        for row, number in zip(rows, order, strict=True):
            np.testing.assert_allclose(row, answer(opened, [samples[number]])[0][0][0], atol=1e-4)


def test_no_more_than_a_window_is_held(
    samples: list[dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of the next window are not joined with those of this one."""
    monkeypatch.setattr(module, "WINDOW", 3)
    shapes = [feed["input_ids"].shape for feed in Joined(samples)]
    assert shapes == [(2, 4), (1, 7), (1, 9), (1, 7), (1, 4)]


def test_a_batch_is_not_too_large(
    samples: list[dict[str, np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many tokens go together at most."""
    monkeypatch.setattr(module, "TOGETHER", 8)
    assert max(feed["input_ids"].size for feed in Joined(samples)) == 9  # one alone
    assert sorted(len(feed["input_ids"]) for feed in Joined(samples)) == [1, 1, 1, 1, 2]


def test_a_model_of_one_sample_gets_one_at_a_time(samples: list[dict[str, np.ndarray]]) -> None:
    """A graph whose answer mixes samples, or that refuses two, is fed as before."""
    for operator, wanted in (("ReduceSum", 6), ("Squeeze", 6)):
        inputs = [
            ir.Value(name=name, shape=ir.Shape([None, None]), type=ir.TensorType(ir.DataType.INT64))
            for name in samples[0]
        ]
        axis = ir.Value(
            name="axis",
            shape=ir.Shape([1]),
            type=ir.TensorType(ir.DataType.INT64),
            const_value=ir.tensor(np.array([0]), name="axis"),
        )
        node = ir.node(operator, [inputs[0], axis])
        node.outputs[0].name = "y"
        node.outputs[0].type = ir.TensorType(ir.DataType.INT64)
        graph = ir.Graph(inputs, [node.outputs[0]], nodes=[node], initializers=[axis],
                         opset_imports={"": 23}, name="g")  # fmt: skip
        model = ir.Model(graph, ir_version=11)
        assert len(list(join_feeds(model, samples))) == wanted
