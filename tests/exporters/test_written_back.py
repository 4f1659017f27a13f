"""What was pruned and written back, loaded by transformers: the same answers as our graph's."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from edgecompile.export import read_model  # noqa: E402 - after the skip
from edgecompile.export.checkpoint import read_config  # noqa: E402
from edgecompile.export.write_checkpoint import write_checkpoint  # noqa: E402
from edgecompile.prune.find_groups import find_groups  # noqa: E402
from edgecompile.prune.remove_units import remove_units  # noqa: E402

pytestmark = pytest.mark.exporters

FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta")
HEADS = {
    None: transformers.AutoModel,
    "sequence": transformers.AutoModelForSequenceClassification,
    "token": transformers.AutoModelForTokenClassification,
}
Write = Callable[..., Any]


@pytest.fixture
def write(checkpoint: Callable[..., Path], tmp_path: Path) -> Write:
    """Return a function: family, head, heads and channels to keep -> graph, folder, loads."""

    def make(family: str, head: str | None, heads: tuple[int, int], ffn: tuple[int, int]) -> Any:
        folder = checkpoint(family, head)
        dense = read_model.export(read_model.find_source(folder))
        groups = [g for g in find_groups(dense).found if ".layer." in g.name]
        left = [n for g, n in zip(groups, (*heads, *ffn), strict=True)]
        keep = {g.name: range(g.units - n, g.units) for g, n in zip(groups, left, strict=True)}
        model = remove_units(dense, groups, keep)
        output = tmp_path / "out"
        output.mkdir()
        loads = write_checkpoint(model, folder, read_config(folder), output)
        shutil.copyfile(folder / "tokenizer.json", output / "tokenizer.json")
        return model, output, loads

    return make


@pytest.fixture
def alike(
    answer: Callable[..., Any],
    ask: Callable[..., Any],
    feed: Callable[..., Any],
    same: Callable[..., None],
) -> Callable[[Any, Any], None]:
    """Return a check that a graph and a torch module answer the same."""

    def check(model: Any, module: Any) -> None:
        names = [str(value.name) for value in model.graph.inputs]
        for size in ((1, 1), (3, 17)):
            inputs = feed(*size, names=names, words=100, pad=module.config.pad_token_id)
            same(answer(model)(inputs)[0], ask(module, inputs), inputs, 1e-5)

    return check


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_loads_even_channels_and_any_heads(
    write: Write,
    alike: Callable[..., None],
    family: str,
    head: str | None,
) -> None:
    """Each layer lacks other heads; no weight is left to chance; answers are ours."""
    model, folder, loads = write(family, head, (3, 1), (40, 40))
    assert loads
    module, info = HEADS[head].from_pretrained(folder, output_loading_info=True)
    assert [n for n in info["missing_keys"] if "pooler" not in n or head == "sequence"] == []
    assert info["mismatched_keys"] == []
    alike(model, module.eval())


def test_transformers_refuses_what_it_cannot_say(write: Write) -> None:
    """Layers of other widths end in its own error, not in other answers."""
    _, folder, loads = write("bert", None, (4, 4), (40, 20))
    assert not loads
    with pytest.raises(RuntimeError, match="size"):
        transformers.AutoModel.from_pretrained(folder)
