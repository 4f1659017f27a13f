"""Samples: texts through a tokenizer, or an .npz of inputs; what does not fit is named."""

import gc
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from edgecompile import samples
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


# --- tokenizer -----------------------------------------------------------------------------------


def test_text_becomes_the_inputs_that_the_model_takes(folder: Path) -> None:
    """Each text is one feed: int64 [1, S], the model's inputs alone, in the model's order."""
    encode = samples.open_encoder(folder, model(*BERT), 10)
    first, second = encode(["red blue", "mauve"])
    assert list(first) == list(BERT)
    assert all(a.dtype == np.int64 and a.shape == (1, 4) for a in first.values())
    np.testing.assert_array_equal(first["input_ids"], [[1, 4, 6, 2]])
    np.testing.assert_array_equal(first["attention_mask"], [[1, 1, 1, 1]])
    np.testing.assert_array_equal(first["token_type_ids"], [[0, 0, 0, 0]])
    np.testing.assert_array_equal(second["input_ids"], [[1, 3, 2]])
    (only,) = samples.open_encoder(folder, model("input_ids"), 10)(["red"])
    assert list(only) == ["input_ids"]


def test_texts_are_never_padded(folder: Path) -> None:
    """The padding and truncation that a tokenizer was saved with do not reach the samples."""
    feeds = samples.open_encoder(folder, model(*BERT), 10)(["red", "red green blue red"])
    assert [feed["input_ids"].shape for feed in feeds] == [(1, 3), (1, 6)]


def test_long_text_is_cut_to_the_longest_sequence(folder: Path) -> None:
    """A long text keeps its first words and its last special token."""
    (feed,) = samples.open_encoder(folder, model(*BERT), 4)(["red green blue red green"])
    np.testing.assert_array_equal(feed["input_ids"], [[1, 4, 5, 2]])
    assert all(array.shape == (1, 4) for array in feed.values())


@pytest.mark.parametrize("longest", [1, 2])
def test_longest_below_the_special_tokens_still_holds(folder: Path, longest: int) -> None:
    """No feed is longer than the longest sequence, even where special tokens alone would be."""
    (feed,) = samples.open_encoder(folder, model(*BERT), longest)(["red green"])
    assert all(array.shape == (1, longest) for array in feed.values())


def test_wrong_tokenizer_is_refused(folder: Path) -> None:
    """A tokenizer with more words than the model's table has rows belongs to another model."""
    with pytest.raises(ModelError) as caught:
        samples.open_encoder(folder, model(*BERT, rows=len(WORDS) - 1), 10)
    assert str(caught.value) == (
        f"{folder / 'tokenizer.json'}: wrong tokenizer: it gives token ids up to 6, the model's"
        " embedding table has 6 rows"
    )


def test_table_with_spare_rows_is_fine(folder: Path) -> None:
    """Tables are often padded to a round number of rows."""
    assert samples.table_rows(model(*BERT, rows=64)) == 64
    assert samples.open_encoder(folder, model(*BERT, rows=64), 10).longest == 10


def test_table_is_found_behind_input_ids_only() -> None:
    """A model without input_ids, or whose ids look up nothing, has no known table."""
    assert samples.table_rows(model("pixels")) is None
    bare = model("input_ids")
    bare.graph.remove(bare.graph[0], safe=True)
    assert samples.table_rows(bare) is None


def test_missing_tokenizer_names_the_other_way(tmp_path: Path) -> None:
    """Without tokenizer.json, texts cannot be read: the message names what else can be given."""
    with pytest.raises(DataError) as caught:
        samples.open_encoder(tmp_path, model(*BERT), 10)
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
        samples.open_encoder(tmp_path, model(*BERT), 10)
    assert str(caught.value).startswith(f"{path}: not a readable tokenizer (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [("pixel_values",), ("input_ids", "pixel_values")])
def test_model_that_takes_no_text_is_named(folder: Path, names: tuple[str, ...]) -> None:
    """Texts cannot feed a model with other inputs: they are listed, with what to give instead."""
    with pytest.raises(DataError) as caught:
        samples.open_encoder(folder, model(*names), 10)
    assert str(caught.value) == (
        f"the model's inputs {list(names)} are not those of a text model; give model inputs as"
        " --data FILE.npz"
    )


# --- longest sequence ----------------------------------------------------------------------------


def test_positions_read_by_slice_end_with_their_table() -> None:
    """A model takes no more tokens than its table of positions has rows; the limit may be less."""
    m = model(*BERT, rows=1000)
    zero, length = (ir.val(name, ir.DataType.INT64, [1]) for name in ("zero", "length"))
    positions = add_initializer(m.graph, "positions", np.zeros((40, 2), np.float32))
    rows = add_initializer(m.graph, "rows", np.array([0]))
    m.graph.append(ir.node("Slice", [positions, zero, length, rows]))
    assert samples.longest_sequence(m, 512) == 40
    assert samples.longest_sequence(m, 16) == 16


@pytest.mark.parametrize("flipped", [False, True])
def test_positions_with_an_offset_end_sooner(flipped: bool) -> None:  # noqa: FBT001
    """RoBERTa counts positions from behind the padding id: so many rows are never read."""
    m = model(*BERT, rows=1000)
    offset = add_initializer(m.graph, "offset", np.array(1, np.int64))
    counted = ir.node("CumSum", [m.graph.inputs[1], add_initializer(m.graph, "axis", np.array(1))])
    operands = [counted.outputs[0], offset]
    shifted = ir.node("Add", operands[::-1] if flipped else operands)
    positions = add_initializer(m.graph, "positions", np.zeros((514, 2), np.float32))
    gather = ir.node("Gather", [positions, shifted.outputs[0]])
    m.graph.extend([counted, shifted, gather])
    assert samples.longest_sequence(m, 10_000) == 512
    assert samples.longest_sequence(m, 100) == 100


def test_model_without_positions_takes_any_length() -> None:
    """The table that input_ids look up says nothing about length."""
    assert samples.longest_sequence(model(*BERT, rows=7), 512) == 512


# --- texts ---------------------------------------------------------------------------------------


def test_txt_is_one_text_a_line(tmp_path: Path) -> None:
    """A .txt holds one text a line; empty lines are skipped, JSON is not looked for."""
    path = tmp_path / "data.txt"
    path.write_text('one two\n\n  \n{"text": 3}\nnaïve\n', encoding="utf-8")
    assert samples.read_texts(path) == ["one two", '{"text": 3}', "naïve"]


def test_jsonl_is_one_object_a_line(tmp_path: Path) -> None:
    """A .jsonl holds one object with a text a line; other keys and empty lines do not matter."""
    path = tmp_path / "data.jsonl"
    lines = [{"text": "one\ntwo"}, {"label": 1, "text": "naïve"}]
    path.write_text("\n\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert samples.read_texts(path) == ["one\ntwo", "naïve"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not a JSON object with the key 'text'"),
        ("one", "not a JSON object with the key 'text'"),
        ('{"Text": "one"}', "not a JSON object with the key 'text'"),
        ('["text"]', "not a JSON object with the key 'text'"),
        ('"text"', "not a JSON object with the key 'text'"),
        ("5", "not a JSON object with the key 'text'"),
        ("[" * 100_000, "not a JSON object with the key 'text'"),
        ('{"text": 5}', "'text' is not a text"),
        ('{"text": null}', "'text' is not a text"),
        ('{"text": ["one"]}', "'text' is not a text"),
        ('{"text": " "}', "'text' is not a text"),
    ],
    ids=lambda value: value[:20],
)
def test_wrong_line_is_named_by_its_number(tmp_path: Path, line: str, what: str) -> None:
    """A line of a .jsonl that holds no text: the file, the line as editors count, and why."""
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "one"}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        samples.read_texts(path)
    assert str(caught.value) == f"{path}, line 3: {what}"


@pytest.mark.parametrize("name", ["data.txt", "data.jsonl"])
@pytest.mark.parametrize("text", ["", "\n \n"])
def test_file_without_text_is_an_error(tmp_path: Path, name: str, text: str) -> None:
    """An empty file calibrates nothing, and the message says what to give."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        samples.read_texts(path)
    assert str(caught.value) == (
        f"{path}: holds no text; give a .txt file with a text a line, or a .jsonl"
    )


def test_unreadable_texts_are_named(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, and a file that is not there: the path and the reason."""
    path = tmp_path / "data.txt"
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot read texts from it: ")):
        samples.read_texts(path)
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot read texts from it: 'utf-8'")):
        samples.read_texts(path)


# --- inputs --------------------------------------------------------------------------------------


def two_inputs() -> ir.Model:
    """Return a model that takes int64 ids [batch, sequence] and float features [batch, 3]."""
    inputs = [
        ir.val("ids", ir.DataType.INT64, ["batch", "sequence"]),
        ir.val("features", ir.DataType.FLOAT, ["batch", 3]),
    ]
    return ir.Model(ir.Graph(inputs, [], nodes=[], name="model"), ir_version=10)


IDS = np.arange(8).reshape(2, 4)
FEATURES = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_npz_gives_one_feed_a_sample(tmp_path: Path) -> None:
    """Arrays [samples, ...] become feeds of batch 1, named and typed as the model takes them."""
    path = tmp_path / "data.npz"
    np.savez(path, features=FEATURES, ids=IDS)
    feeds = samples.read_inputs(path, two_inputs())
    assert [list(feed) for feed in feeds] == [["ids", "features"]] * 2
    np.testing.assert_array_equal(feeds[1]["ids"], [[4, 5, 6, 7]])
    np.testing.assert_array_equal(feeds[1]["features"], [[3, 4, 5]])
    assert feeds[0]["features"].dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "what"),
    [
        ({"ids": IDS}, "holds ['ids'] but the model's inputs are ['features', 'ids']"),
        (
            {"ids": IDS, "features": FEATURES, "more": IDS},
            "holds ['features', 'ids', 'more'] but the model's inputs are ['features', 'ids']",
        ),
        (
            {"ids": IDS, "feature": FEATURES},
            "holds ['feature', 'ids'] but the model's inputs are ['features', 'ids']",
        ),
        (
            {"ids": IDS, "features": FEATURES[:, :2]},
            "input 'features' has shape [2, 2], the model takes [",
        ),
        ({"ids": IDS[0], "features": FEATURES}, "input 'ids' has shape [4], the model takes ["),
        (
            {"ids": IDS, "features": np.float32(1)},
            "input 'features' has shape [], the model takes [",
        ),
        (
            {"ids": IDS.astype(np.int32), "features": FEATURES},
            "input 'ids' is int32, the model takes int64",
        ),
        (
            {"ids": IDS, "features": FEATURES.astype(np.float64)},
            "input 'features' is float64, the model takes float32",
        ),
        *(
            ({"ids": IDS, "features": FEATURES * bad}, "input 'features' holds NaN or infinity")
            for bad in (np.float32(np.nan), np.array([1, np.inf, 1], np.float32))
        ),
        (
            {"ids": IDS[:1], "features": FEATURES},
            "arrays hold [1, 2] samples; each must hold the same number",
        ),
        (
            {"ids": IDS[:0], "features": FEATURES[:0]},
            "arrays hold [0] samples; each must hold the same number",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in multiply")
def test_arrays_that_do_not_fit_are_named(
    tmp_path: Path, arrays: dict[str, np.ndarray], what: str
) -> None:
    """Wrong names, shapes, types, values or counts: the file, the input, found and wanted."""
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError) as caught:
        samples.read_inputs(path, two_inputs())
    assert str(caught.value).startswith(f"{path}: {what}")


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    """Arrays of objects could run code when they are loaded: they are not loaded."""
    path = tmp_path / "data.npz"
    np.savez(path, ids=np.array([{}, {}]), features=FEATURES)
    with pytest.raises(DataError) as caught:
        samples.read_inputs(path, two_inputs())
    assert str(caught.value).startswith(f"{path}: not a readable .npz of plain arrays: ")


@pytest.mark.parametrize("data", [b"not a zip", b"PK\x03\x04 cut off", b"\x80\x04K\x01."])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # numpy leaves a cut-off file to the GC
def test_file_that_is_no_npz_is_named(tmp_path: Path, data: bytes) -> None:
    """A file of another kind, or a truncated one: its path and the reason."""
    path = tmp_path / "data.npz"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        samples.read_inputs(path, two_inputs())
    message = str(caught.value)
    del caught
    gc.collect()
    assert message.startswith(f"{path}: not a readable .npz of plain arrays: ")
    assert "\n" not in message


def test_model_of_unknown_shape_takes_any(tmp_path: Path) -> None:
    """An input without a known shape or type is not compared with one."""
    path = tmp_path / "data.npz"
    np.savez(path, x=FEATURES)
    graph = ir.Graph([ir.Value(name="x")], [], nodes=[], name="model")
    assert len(samples.read_inputs(path, ir.Model(graph, ir_version=10))) == 2


# --- padding -------------------------------------------------------------------------------------


def test_valid_tokens_are_those_that_the_mask_keeps() -> None:
    """Padding is where attention_mask is 0; without a mask nothing is known of it."""
    valid = samples.valid_tokens({"attention_mask": np.array([[1, 1, 0]])})
    assert valid is not None
    assert valid.dtype == bool
    np.testing.assert_array_equal(valid, [[True, True, False]])
    assert samples.valid_tokens({"input_ids": np.array([[1, 1, 0]])}) is None


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"ids": [[500, 1, 2]]}, "input_ids run from 1 to 500, the table has 130 rows"),
        ({"ids": [[-1, 1, 2]]}, "input_ids run from -1 to 2, the table has 130 rows"),
        ({"mask": [[0, 0, 0]]}, "attention_mask of sample 0 is all 0"),
        ({"mask": [[1, 1]]}, "token inputs differ in shape: "),
        ({"ids": [[1] * 99], "mask": [[1] * 99]}, "input_ids are 99 tokens long, the model takes"),
    ],
)
def test_inputs_that_a_text_model_cannot_take_are_named(
    checkpoint: Callable[..., Path], tmp_path: Path, change: dict[str, list[list[int]]], found: str
) -> None:
    """Ids outside the table, empty masks and wrong lengths are told before anything runs."""
    from edgecompile.export.read_model import export, find_source

    model = export(find_source(checkpoint("distilbert")))
    given = {"ids": [[1, 2, 3]], "mask": [[1, 1, 1]]} | change
    arrays = {
        "input_ids": np.array(given["ids"], np.int64),
        "attention_mask": np.array(given["mask"], np.int64),
    }
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError) as caught:
        samples.read_inputs(tmp_path / "x.npz", model)
    rows = model.graph.initializers["embeddings.word_embeddings.weight"].shape[0]
    wanted = found.replace("130", str(rows))
    assert str(caught.value).startswith(f"{tmp_path / 'x.npz'}: {wanted}")


def test_line_separators_of_unicode_stay_in_a_text(tmp_path: Path) -> None:
    """Only a newline ends a line; a byte order mark is no part of the first text."""
    path = tmp_path / "texts.txt"
    path.write_text("\ufeffone\u2028line\ntwo\n", encoding="utf-8")
    assert samples.read_texts(path) == ["one\u2028line", "two"]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_a_model_of_one_length_gets_padded_texts(folder: Path, dtype: type[np.integer]) -> None:
    """A fixed sequence is filled with padding that the mask tells; types are the model's own."""
    m = model(*BERT, rows=1000)
    for value in m.graph.inputs:
        value.shape, value.dtype = ir.Shape([1, 9]), ir.DataType.from_numpy(np.dtype(dtype))
    (feed,) = samples.open_encoder(folder, m, 512)([WORDS[-1]])
    assert {array.dtype for array in feed.values()} == {np.dtype(dtype)}
    assert {array.shape for array in feed.values()} == {(1, 9)}
    assert 0 < feed["attention_mask"].sum() < 9


def test_a_fixed_batch_is_told(folder: Path) -> None:
    """Texts come one by one: a model that wants four at once says so before it runs."""
    m = model(*BERT, rows=1000)
    m.graph.inputs[0].shape = ir.Shape([4, "s"])
    with pytest.raises(DataError, match="has a fixed batch of 4, texts come one by one"):
        samples.open_encoder(folder, m, 512)
