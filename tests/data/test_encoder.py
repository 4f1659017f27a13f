"""Texts through a model's tokenizer become what the model takes; what does not fit is named."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from edgecompile.data.encoder import open_encoder
from edgecompile.data.limits import table_rows
from edgecompile.errors import DataError, ModelError
from edgecompile.graph import add_initializer

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "red", "green", "blue")


def model(*names: str, rows: int = len(WORDS)) -> ir.Model:
    """Return a model that looks input_ids up in a table of so many rows; other inputs idle."""
    inputs = [ir.val(n, ir.DataType.INT64, ["batch", "sequence"]) for n in names]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": 20}, name="model")
    table = add_initializer(graph, "table", np.zeros((rows, 2), np.float32))
    graph.append(ir.node("Gather", [table, inputs[0]]))
    return ir.Model(graph, ir_version=10)


BERT = ("input_ids", "attention_mask", "token_type_ids")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the tokenizer of a model of seven words, saved with padding on."""
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token=WORDS[3]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_text_becomes_the_inputs_that_the_model_takes(folder: Path) -> None:
    """Each text is one feed: int64 [1, S], the model's inputs alone, in the model's order."""
    encode = open_encoder(folder, model(*BERT), 10)
    first, second = encode(["red blue", "mauve"])
    assert list(first) == list(BERT)
    assert all(a.dtype == np.int64 and a.shape == (1, 4) for a in first.values())
    np.testing.assert_array_equal(first["input_ids"], [[1, 4, 6, 2]])
    np.testing.assert_array_equal(first["attention_mask"], [[1, 1, 1, 1]])
    np.testing.assert_array_equal(first["token_type_ids"], [[0, 0, 0, 0]])
    np.testing.assert_array_equal(second["input_ids"], [[1, 3, 2]])
    (only,) = open_encoder(folder, model("input_ids"), 10)(["red"])
    assert list(only) == ["input_ids"]


def test_texts_are_never_padded(folder: Path) -> None:
    """The padding and truncation that a tokenizer was saved with do not reach the samples."""
    feeds = open_encoder(folder, model(*BERT), 10)(["red", "red green blue red"])
    assert [feed["input_ids"].shape for feed in feeds] == [(1, 3), (1, 6)]


def test_long_text_is_cut_to_the_longest_sequence(folder: Path) -> None:
    """A long text keeps its first words and its last special token."""
    (feed,) = open_encoder(folder, model(*BERT), 4)(["red green blue red green"])
    np.testing.assert_array_equal(feed["input_ids"], [[1, 4, 5, 2]])
    assert all(array.shape == (1, 4) for array in feed.values())


@pytest.mark.parametrize("longest", [1, 2])
def test_longest_below_the_special_tokens_still_holds(folder: Path, longest: int) -> None:
    """No feed is longer than the longest sequence, even where special tokens alone would be."""
    (feed,) = open_encoder(folder, model(*BERT), longest)(["red green"])
    assert all(array.shape == (1, longest) for array in feed.values())


def test_wrong_tokenizer_is_refused(folder: Path) -> None:
    """A tokenizer with more words than the model's table has rows belongs to another model."""
    with pytest.raises(ModelError) as caught:
        open_encoder(folder, model(*BERT, rows=len(WORDS) - 1), 10)
    assert str(caught.value) == (
        f"{folder / 'tokenizer.json'}: wrong tokenizer: it gives token ids up to 6, the model's"
        " embedding table has 6 rows"
    )


def test_table_with_spare_rows_is_fine(folder: Path) -> None:
    """Tables are often padded to a round number of rows."""
    assert table_rows(model(*BERT, rows=64)) == 64
    assert open_encoder(folder, model(*BERT, rows=64), 10).longest == 10


def test_missing_tokenizer_names_the_other_way(tmp_path: Path) -> None:
    """Without tokenizer.json, texts cannot be read: the message names what else can be given."""
    with pytest.raises(DataError) as caught:
        open_encoder(tmp_path, model(*BERT), 10)
    assert str(caught.value) == (
        f"{tmp_path}: no tokenizer.json to read texts with; put the model's own there, or give"
        " model inputs as --data FILE.npz"
    )


@pytest.mark.parametrize("data", [b"", b"{}", b"not json", b"\xff\xfe"])
def test_broken_tokenizer_is_named(tmp_path: Path, data: bytes) -> None:
    """A tokenizer.json that is none: its path and the reason, on one line."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(data)
    with pytest.raises(ModelError) as caught:
        open_encoder(tmp_path, model(*BERT), 10)
    assert str(caught.value).startswith(f"{path}: not a readable tokenizer (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [("pixel_values",), ("input_ids", "pixel_values")])
def test_model_that_takes_no_text_is_named(folder: Path, names: tuple[str, ...]) -> None:
    """Texts cannot feed a model with other inputs: they are listed, with what to give instead."""
    with pytest.raises(DataError) as caught:
        open_encoder(folder, model(*names), 10)
    assert str(caught.value) == (
        f"the model's inputs {list(names)} are not those of a text model; give data of its"
        " kind with --data, or in the recipe: a folder of images or audio, or model inputs as .npz"
    )


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_model_of_one_length_gets_padded_texts(folder: Path, dtype: type[np.integer]) -> None:
    """A fixed sequence is filled with padding that the mask tells; types are the model's own."""
    m = model(*BERT, rows=1000)
    for value in m.graph.inputs:
        value.shape, value.dtype = ir.Shape([1, 9]), ir.DataType.from_numpy(np.dtype(dtype))
    (feed,) = open_encoder(folder, m, 512)([WORDS[-1]])
    assert {array.dtype for array in feed.values()} == {np.dtype(dtype)}
    assert {array.shape for array in feed.values()} == {(1, 9)}
    assert 0 < feed["attention_mask"].sum() < 9


def test_a_fixed_batch_is_told(folder: Path) -> None:
    """Texts come one by one: a model that wants four at once says so before it runs."""
    m = model(*BERT, rows=1000)
    m.graph.inputs[0].shape = ir.Shape([4, "s"])
    with pytest.raises(DataError, match="has a fixed batch of 4, texts come one by one"):
        open_encoder(folder, m, 512)
