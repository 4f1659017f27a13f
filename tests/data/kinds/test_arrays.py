"""An .npz of model inputs: streamed; what does not fit is named."""

import gc
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from numpy.lib import format as npy

from edgecompile.data.feed import Feed
from edgecompile.data.kinds import arrays
from edgecompile.data.source import open_source, request_of
from edgecompile.errors import DataError


def read_inputs(path: Path, model: ir.Model) -> list[Feed]:
    """Read all samples."""
    source = open_source(path, request_of(model, path.parent, 512))
    return list(source.feeds(0, source.count(10**6)))


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
    feeds = read_inputs(path, two_inputs())
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
        read_inputs(path, two_inputs())
    place = f"{path}, sample" if "NaN" in what else f"{path}: "
    assert str(caught.value).startswith(place)
    assert what in str(caught.value)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    """Arrays of objects could run code when they are loaded: they are not loaded."""
    path = tmp_path / "data.npz"
    np.savez(path, ids=np.array([{}, {}]), features=FEATURES)
    with pytest.raises(DataError) as caught:
        read_inputs(path, two_inputs())
    assert str(caught.value).startswith(f"{path}: not a readable .npz of plain arrays: ")


@pytest.mark.parametrize("data", [b"not a zip", b"PK\x03\x04 cut off", b"\x80\x04K\x01."])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # numpy leaves a cut-off file to the GC
def test_file_that_is_no_npz_is_named(tmp_path: Path, data: bytes) -> None:
    """A file of another kind, or a truncated one: its path and the reason."""
    path = tmp_path / "data.npz"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_inputs(path, two_inputs())
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
    assert len(read_inputs(path, ir.Model(graph, ir_version=10))) == 2


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"ids": [[500, 1, 2]]}, "input_ids run from 1 to 500, the table has 130 rows"),
        ({"ids": [[-1, 1, 2]]}, "input_ids run from -1 to 2, the table has 130 rows"),
        ({"mask": [[0, 0, 0]]}, "attention_mask is all 0"),
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
        read_inputs(tmp_path / "x.npz", model)
    rows = model.graph.initializers["embeddings.word_embeddings.weight"].shape[0]
    wanted = found.replace("130", str(rows))
    assert str(caught.value).startswith(f"{tmp_path / 'x.npz'}, sample 1: {wanted}")


def hostile(path: Path, shape: tuple[int, ...], data: bytes) -> Path:
    """Write an .npz whose one array claims a shape that it does not have."""
    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", header.getvalue() + data)
    return path


def one_input(*shape: int | str) -> ir.Model:
    """Return a model that takes floats."""
    x = ir.val("x", ir.DataType.FLOAT, shape)
    return ir.Model(ir.Graph([x], [], nodes=[], name="m"), ir_version=10)


def test_a_header_that_claims_more_than_there_is_allocates_nothing(tmp_path: Path) -> None:
    """100 GB in a header of a small file: refused by its size, before memory is asked for."""
    path = hostile(tmp_path / "bomb.npz", (25_000_000_000,), bytes(400))
    with pytest.raises(DataError) as caught:
        read_inputs(path, one_input("batch"))
    assert str(caught.value) == (
        f"{path}: not a readable .npz of plain arrays: 'x.npy' has 528 bytes, its header says"
        " 100,000,000,128"
    )


def test_a_sample_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A sample of more than 1 GiB, however well it is compressed."""
    path = tmp_path / "bomb.npz"
    hostile(path, (1, 1), bytes(4))
    assert arrays.SAMPLE_BYTES == 1 << 30
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "SAMPLE_BYTES", 3)
        with pytest.raises(DataError, match="a sample takes 4 bytes; at most 3 are read"):
            read_inputs(path, one_input("batch", "n"))


def test_samples_are_read_one_by_one(tmp_path: Path) -> None:
    """Damage behind the last wanted sample is never reached; before it, it is named."""
    path = tmp_path / "data.npz"
    rows = np.random.default_rng(0).normal(size=(64, 4096)).astype(np.float32)
    np.savez(path, x=rows)
    data = bytearray(path.read_bytes())
    data[len(data) // 8 * 4] ^= 1  # the lowest bit of a number in the middle
    path.write_bytes(data)
    source = open_source(path, request_of(one_input("batch", 4096), tmp_path, 512))
    first, second = source.feeds(1, 3)
    np.testing.assert_array_equal(first["x"], rows[1:2])
    np.testing.assert_array_equal(second["x"], rows[2:3])
    with pytest.raises(DataError, match="Bad CRC-32"):
        list(source.feeds(0, 64))


def test_arrays_by_column_name_the_way_out(tmp_path: Path) -> None:
    """Fortran order cannot be streamed by sample: the message says how to save."""
    np.savez(tmp_path / "data.npz", x=np.asfortranarray(np.ones((4, 3), np.float32)))
    with pytest.raises(DataError, match=r"'x\.npy' is stored by column; save np\.ascontiguous"):
        read_inputs(tmp_path / "data.npz", one_input("batch", 3))


def test_type_ids_outside_their_table_are_named(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """token_type_ids look up a table too."""
    from edgecompile.export.read_model import export, find_source

    ids = np.array([[1, 2, 3]])
    model = export(find_source(checkpoint("bert")))
    np.savez(tmp_path / "x.npz", input_ids=ids, attention_mask=ids**0, token_type_ids=ids)
    with pytest.raises(DataError, match="token_type_ids run from 1 to 3, the table has 2 rows"):
        read_inputs(tmp_path / "x.npz", model)
