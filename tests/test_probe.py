"""What a foreign graph computes, seen on small inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.errors import ChangedError, ModelError
from edgecompile.probe import SIZES, TOLERANCE, check_answers, close, depends_on, take_probe

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]

TABLE = np.arange(80, dtype=np.float32).reshape(10, 8)
TEXT = """(int64[b,s] input_ids, int64[b,s] attention_mask) => (float[b,s,8] y) {
    w = Gather(table, input_ids) c = Cast<to = 1>(attention_mask) u = Unsqueeze(c, last)
    y = Mul(w, u) }"""
NUMBERS: dict[str, Any] = {"table": TABLE, "last": np.array([-1])}


def value(model: ir.Model, name: str) -> ir.Value:
    """Return a tensor of a graph by name."""
    made = [v for node in model.graph for v in node.outputs]
    return next(v for v in (*made, *model.graph.inputs) if v.name == name)


# ------------------------------------------------------------------ inputs


def test_every_run_has_another_batch_and_another_length(graph: Parse) -> None:
    """So that no size can be taken for a constant, nor a batch for a length."""
    probe = take_probe(graph(TEXT, **NUMBERS))
    shapes = [feed["input_ids"].shape for feed in probe.feeds]
    assert shapes == [(sizes.batch, sizes.sequence) for sizes in SIZES]
    assert len({size for shape in shapes for size in shape}) == 2 * len(SIZES)


def test_where_only_the_batch_is_open_two_runs_are_enough(graph: Parse) -> None:
    """Images and spectra are large: every tensor of every run is kept."""
    probe = take_probe(graph("(float[b,3,4,4] x) => (float[b,3,4,4] y) { y = Neg(x) }"))
    assert [feed["x"].shape for feed in probe.feeds] == [(2, 3, 4, 4), (1, 3, 4, 4)]


def test_sound_is_made_long_enough_for_its_convolutions(graph: Parse) -> None:
    """A wave of a few numbers has no window: steps of more numbers are tried."""
    text = """(float[b,s] wave) => (float[b,1,f] y) {
        u = Unsqueeze(wave, middle) y = Conv<strides = [40]>(u, window) }"""
    numbers = {"middle": np.array([1]), "window": np.ones((1, 1, 100), np.float32)}
    probe = take_probe(graph(text, **numbers))
    assert all(array.shape[2] > 1 for array in probe.values["y"])
    assert probe.far["wave"].shape[1] > probe.feeds[0]["wave"].shape[1]


def test_fixed_sizes_are_kept(graph: Parse) -> None:
    """A dimension that is a number is that number in every run."""
    text = (
        "(float[1,s,8] x, float[2,3] z) => (float[1,s,8] y, float[2,3] v) { y = Neg(x) v = Neg(z) }"
    )
    probe = take_probe(graph(text))
    assert [feed["x"].shape for feed in probe.feeds] == [(1, 7, 8), (1, 5, 8), (1, 11, 8)]
    assert {feed["z"].shape for feed in probe.feeds} == {(2, 3)}


def test_ids_fit_the_table_that_they_index(graph: Parse) -> None:
    """No id is as large as the table has rows; several of them are used."""
    probe = take_probe(graph(TEXT, **NUMBERS))
    ids = np.concatenate([feed["input_ids"].ravel() for feed in probe.feeds])
    assert ids.min() >= 0
    assert 5 < ids.max() < len(TABLE)


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_masks_hide_some_tokens_and_never_the_first(graph: Parse, dtype: str) -> None:
    """A sequence without any valid token would be NaN in most exports."""
    text = TEXT.replace("int64[b,s] attention_mask", f"{dtype}[b,s] attention_mask")
    for feed in take_probe(graph(text, **NUMBERS)).feeds:
        mask = feed["attention_mask"]
        assert mask.dtype == np.dtype(dtype)
        assert set(np.unique(mask)) == {0, 1}
        assert mask[:, 0].all()


def test_the_same_graph_gives_the_same_probe(graph: Parse) -> None:
    """Recognition must not depend on luck."""
    one, two = (take_probe(graph(TEXT, **NUMBERS)) for _ in range(2))
    for name, arrays in one.values.items():
        for a, b in zip(arrays, two.values[name], strict=True):
            np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------ values


def test_every_tensor_is_kept_in_every_run(graph: Parse) -> None:
    """Inputs, what is computed in between, outputs, and initializers as they are."""
    model = graph(TEXT, **NUMBERS)
    probe = take_probe(model)
    for run, feed in enumerate(probe.feeds):
        looked_up = TABLE[feed["input_ids"]]
        np.testing.assert_array_equal(probe.of(value(model, "input_ids"))[run], feed["input_ids"])
        np.testing.assert_array_equal(probe.of(value(model, "w"))[run], looked_up)
        expected = looked_up * feed["attention_mask"][..., None]
        np.testing.assert_array_equal(probe.of(value(model, "y"))[run], expected)
    table = probe.of(model.graph.initializers["table"])
    assert len(table) == len(SIZES)
    np.testing.assert_array_equal(table[0], TABLE)


def test_what_was_not_seen_is_none(graph: Parse) -> None:
    """A missing input, and a tensor that a pass has made since."""
    probe = take_probe(graph(TEXT, **NUMBERS))
    assert probe.of(None) is None
    assert probe.of(ir.Value(name="new")) is None
    assert probe.everywhere(None) is None


def test_the_long_run_keeps_what_shapes_decide(graph: Parse) -> None:
    """Limits of a position table show only where the sequence is long: 64 here, not 512."""
    text = """(int64[b,s] input_ids) => (float[b,s,8] y) {
        n = Shape<start = 1, end = 2>(input_ids) w = Gather(table, input_ids)
        p = Slice(positions, zero, n, zero) y = Add(w, p) }"""
    numbers = {"table": TABLE, "zero": np.array([0]), "positions": np.ones((64, 8), np.float32)}
    model = graph(text, **numbers)
    probe = take_probe(model)
    lengths = [int(array[0]) for array in probe.everywhere(value(model, "n"))]
    assert lengths == [7, 5, 11, 64]
    assert len(probe.everywhere(value(model, "w"))) == len(SIZES)


def test_fixed_shapes_have_no_long_run(graph: Parse) -> None:
    """Where nothing can grow, there is nothing to see."""
    model = graph("(float[2,3] x) => (float[2,3] y) { y = Neg(x) }")
    assert take_probe(model).far == {}


def test_a_graph_that_does_not_run_is_told(graph: Parse) -> None:
    """What onnxruntime says is passed on in one line."""
    model = graph("(float[b,s,8] x) => (float[b,s,8] y) { y = Reshape(x, t) }", t=np.array([3, 3]))
    with pytest.raises(ModelError) as error:
        take_probe(model)
    assert str(error.value).startswith("onnxruntime does not run this graph on small inputs: ")
    assert "Reshape" in str(error.value)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------ comparison


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_close_is_relative_to_the_size(size: float) -> None:
    """Small tensors are compared as strictly as large ones."""
    a = np.array([1.0, -2, 0, 4], np.float32) * np.float32(size)
    assert close(a, a * (1 + TOLERANCE / 4))
    assert not close(a, a * (1 + TOLERANCE * 8))
    assert not close(a, -a)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_a_number_is_close_to_nothing(bad: float) -> None:
    """A tensor with NaN or infinity proves nothing, not even when both have it."""
    a = np.array([1.0, bad], np.float32)
    assert not close(a, a)


def test_other_shapes_are_not_close() -> None:
    """No broadcasting, and nothing is close to None."""
    a = np.ones((2, 3), np.float32)
    assert close(a, a.copy())
    assert not close(a, a[:1])
    assert not close(a, a[None])
    assert not close(a, None)
    assert not close(None, a)


def test_zeros_are_close_to_zeros_alone() -> None:
    """An array of zeros has no size to be relative to."""
    zeros = np.zeros(4, np.float32)
    assert close(zeros, zeros)
    assert not close(zeros + np.float32(1e-3), zeros)


# ------------------------------------------------------------------ dependence


def test_shapes_do_not_depend_on_content(graph: Parse) -> None:
    """A Shape, and all that is made of it, depends on no input; the rest on what it reads."""
    text = """(float[b,s,8] x, float[b,s,8] z) => (float[b,s,8] y) {
        sh = Shape(x) n = Size(z) e = Expand(one, sh) a = Neg(x) c = Add(a, e) y = Mul(c, z) }"""
    model = graph(text, one=np.float32(1))
    content = depends_on(model.graph)
    found = {name: set(content[value(model, name)]) for name in ("sh", "n", "e", "a", "c", "y")}
    assert found == {"sh": set(), "n": set(), "e": set(), "a": {"x"}, "c": {"x"}, "y": {"x", "z"}}
    assert content[model.graph.initializers["one"]] == frozenset()


def test_a_graph_that_answers_otherwise_is_our_bug(graph: Callable[..., ir.Model]) -> None:
    """What the rewritten graph gives is compared with what the exported one gave."""
    text = "(float[b,s] x) => (float[b,s] y) { y = Mul(x, k) }"
    before = graph(text, k=np.float32(2))
    probe = take_probe(before)
    check_answers(before, probe)
    with pytest.raises(ChangedError, match="output 'y' is not what the exported model gives"):
        check_answers(graph(text, k=np.float32(2.01)), probe)
