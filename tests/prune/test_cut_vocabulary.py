"""Rows are cut where token ids look them up; answers stay the same bit for bit."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.data.dataset import data_dir
from edgecompile.data.encoder import open_encoder
from edgecompile.data.feed import Feed
from edgecompile.data.kinds.texts import read_texts
from edgecompile.errors import UnsupportedError
from edgecompile.export.read_model import export, find_source
from edgecompile.plan import FLOAT
from edgecompile.prune.count_tokens import count_tokens
from edgecompile.prune.cut_tokenizer import choose_tokens, cut_tokenizer
from edgecompile.prune.cut_vocabulary import cut_vocabulary, find_vocabulary
from edgecompile.prune.tokenizer_file import open_tokenizer
from edgecompile.session import answer, session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE

TEXTS, LONGEST = 24, 48
TABLE = np.arange(40, dtype=np.float32).reshape(10, 4)
KEPT = [0, 3, 4, 9]
IN = "(int64[b,s] input_ids) => "


def answers(model: ir.Model, feeds: list[Feed]) -> list[list[Any]]:
    """Run a canonical graph as a build does, with onnxruntime's optimiser."""
    return answer(session(lower(model, FLOAT, REFERENCE)), feeds)


def check_the_same(folder: Path, tmp_path: Path) -> tuple[int, int]:
    """Cut a checkpoint to some texts; its answers to them are the same bit for bit."""
    dense = export(find_source(folder))
    texts = list(islice(read_texts(data_dir() / "heldout.jsonl"), TEXTS))
    found, file = find_vocabulary(dense), open_tokenizer(folder / "tokenizer.json")
    used = np.flatnonzero(count_tokens(file, texts, found.rows))
    kept = choose_tokens(file, {*used.tolist(), *found.named_ids()})
    (tmp_path / "cut").mkdir()
    cut = cut_tokenizer(file, kept)
    (tmp_path / "cut" / "tokenizer.json").write_text(cut, encoding="utf-8")
    narrow = cut_vocabulary(dense, kept)
    before = answers(dense, list(open_encoder(folder, dense, LONGEST)(texts)))
    after = answers(narrow, list(open_encoder(tmp_path / "cut", narrow, LONGEST)(texts)))
    for a, b in zip(before, after, strict=True):
        for x, y in zip(a, b, strict=True):
            assert x.tobytes() == y.tobytes()
    assert find_vocabulary(dense).rows == found.rows, "the graph that came in is untouched"
    assert find_vocabulary(narrow).rows == len(kept)
    return found.rows, len(kept)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta"])
def test_answers_are_the_same_bit_for_bit(
    family: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Of each family, also where positions are counted from the padding id."""
    before, after = check_the_same(checkpoint(family), tmp_path)
    assert after < before


def test_minilm_answers_the_same_bit_for_bit(minilm: Path, tmp_path: Path) -> None:
    """The real model, under onnxruntime with all its optimisations."""
    before, after = check_the_same(minilm, tmp_path)
    assert before == 30522
    assert after < 1000


def run_both(
    model: ir.Model, run: Callable[..., list[Any]], kept: list[int] = KEPT
) -> tuple[list[Any], list[Any]]:
    """Give the same tokens to a graph and to the cut one."""
    new = np.array([[0, 3, 2, 1, 1]])
    feeds = [{"input_ids": np.array(kept)[new]}, {"input_ids": new}]
    return run(model, feeds[0]), run(cut_vocabulary(model, kept), feeds[1])


LOOK = "y = Gather(table, input_ids)"


@pytest.mark.parametrize(
    ("more", "node"),
    [
        ("", ""),
        (", float[b,s,4] z", "i = Cast<to=6>(input_ids)  z = Gather(table, i)"),
        (", float[b,s,4] z", "z = Gather(other, input_ids)"),
        (", bool[b,s] pad", "pad = Equal(input_ids, three)"),
        (", int64[b] last", "last = ArgMax<axis=1, keepdims=0>(input_ids)"),
        (", int64[2] sizes", "sizes = Shape(input_ids)"),
    ],
    ids=["table", "cast", "two tables", "padding", "last token", "shape"],
)
def test_what_ids_are_used_for(
    more: str, node: str, graph: Callable[..., ir.Model], run: Callable[..., list[Any]]
) -> None:
    """Tables lose rows; a number that ids are compared with is counted anew; order stays."""
    body = f"{IN}(float[b,s,4] y{more}) {{ {LOOK}  {node} }}"
    model = graph(body, table=TABLE, other=TABLE[::-1].copy() * 2, three=np.int64(3))
    for a, b in zip(*run_both(model, run), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_number_is_counted_anew_where_ids_are_compared_alone(
    graph: Callable[..., ir.Model], run: Callable[..., list[Any]]
) -> None:
    """A constant that others share, as RoBERTa's first position, stays what it was for them."""
    body = (
        f"{IN}(float[b,s,4] y, int64[b,s] z) {{ y = Gather(table, input_ids)"
        "  pad = Equal(input_ids, three)  n = Cast<to=7>(pad)  z = Add(n, three) }"
    )
    model = graph(body, table=TABLE, three=np.int64(3))
    assert find_vocabulary(model).named_ids() == {3}
    (_, before), (_, after) = run_both(model, run)
    np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(after, [[3, 3, 3, 4, 4]])


@pytest.mark.parametrize(
    ("outputs", "nodes", "why"),
    [
        ("int64[b,s] y", "y = Add(input_ids, three)", "node 'y' (Add) computes with input_ids"),
        ("int64[2] y", "y = Shape(input_ids)", "the graph looks no table up with input_ids"),
        ("float[4,10] y", "y = Transpose(table)", "the graph looks no table up with input_ids"),
        ("float[10,b,s] y", "y = Gather<axis=1>(table, input_ids)", "(Gather) computes"),
        (
            "float[b,s,10] z",
            f"{LOOK}  t = Transpose<perm=[1,0]>(table)  z = MatMul(y, t)",
            "node 't' (Transpose) reads the table 'table' too",
        ),
        ("float[b,s,10] z", f"{LOOK}  m = MatMul(y, head)  z = Add(m, bias)", "output 'z' has a"),
        ("float[b,s,10] z", f"{LOOK}  m = MatMul(y, head)  z = Softmax(m)", "output 'z' has a"),
        ("float[b,s,4] y, bool[b,s] z", f"{LOOK}  z = Cast<to=9>(input_ids)", "'z' (Cast) comp"),
        ("float[b,s,4] y, int64[b,s] z", f"{LOOK}  z = Identity(input_ids)", "output 'z' holds"),
    ],
)
def test_what_cannot_be_cut_is_named(
    outputs: str, nodes: str, why: str, graph: Callable[..., ir.Model]
) -> None:
    """Nothing is guessed: the node or output that is in the way, on one line."""
    arrays = {"table": TABLE, "head": TABLE.T.copy(), "bias": np.zeros(10, np.float32)}
    model = graph(f"{IN}({outputs}) {{ {nodes} }}", three=np.int64(3), **arrays)
    with pytest.raises(UnsupportedError) as caught:
        find_vocabulary(model)
    assert str(caught.value).startswith("[prune] vocabulary: ")
    assert why in str(caught.value)
