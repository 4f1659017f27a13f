"""What lies beside the weights: copied as it is, or with the ids of a cut tokenizer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.write_tokenizer import write_beside

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def save(path: Path, tokens: tuple[str, ...]) -> bytes:
    """Write a tokenizer of these tokens; return its bytes."""
    ids = {token: number for number, token in enumerate(tokens)}
    Tokenizer(models.WordPiece(ids, unk_token="[UNK]")).save(str(path))  # noqa: S106 - no password
    return path.read_bytes()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Return a function: tokens before and after, config.json -> the output and its config.json."""
    folder, output = tmp_path / "model", tmp_path / "out"
    folder.mkdir()
    output.mkdir()
    (folder / "vocab.txt").write_text("old")
    (folder / "modules.json").write_text("[]")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")

    def run(
        before: tuple[str, ...],
        after: tuple[str, ...] | None,
        settings: Any = None,
        **config: Any,
    ) -> tuple[Path, dict[str, Any]]:
        old = save(folder / "tokenizer.json", before)
        new = old if after is None else save(tmp_path / "cut.json", after)
        if settings is not None:
            (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        (output / "config.json").write_text(json.dumps({"model_type": "bert"} | config))
        write_beside(folder, new, folder / "tokenizer.json" if after else None, output)
        assert (output / "tokenizer.json").read_bytes() == new
        return output, json.loads((output / "config.json").read_text())

    return run


def test_a_whole_tokenizer_is_copied_with_all_its_files(write: Callable[..., Any]) -> None:
    """Pooling too; config.json stays."""
    output, config = write(SPECIAL, None, {"model_max_length": 9}, pad_token_id=3)
    assert (output / "vocab.txt").read_text() == "old"
    assert json.loads((output / "tokenizer_config.json").read_text()) == {"model_max_length": 9}
    assert (output / "modules.json").is_file()
    assert (output / "1_Pooling" / "config.json").is_file()
    assert config == {"model_type": "bert", "pad_token_id": 3}


def test_ids_are_those_of_the_cut_tokenizer(write: Callable[..., Any]) -> None:
    """In config.json and of the added tokens; one that is gone is none; old lists stay behind."""
    settings = {
        "model_max_length": 9,
        "added_tokens_decoder": {"2": "pad", "1": "b", "x": 1, "9" * 99: 2},
    }
    output, config = write(
        ("a", "b", *SPECIAL), SPECIAL, settings, pad_token_id=2, sep_token_id=5, bos_token_id=1,
        eos_token_id=None, mask_token_id=-1,
    )  # fmt: skip
    assert config == {
        "model_type": "bert",
        "pad_token_id": 0,
        "sep_token_id": 3,
        "bos_token_id": None,
        "eos_token_id": None,
        "mask_token_id": None,
    }
    written = json.loads((output / "tokenizer_config.json").read_text())
    assert written == {"model_max_length": 9, "added_tokens_decoder": {"0": "pad"}}
    assert not (output / "vocab.txt").exists()
    assert (output / "modules.json").is_file()


@pytest.mark.parametrize("config", [{"pad_token_id": 1}, {}])
def test_roberta_cannot_move_its_padding(write: Callable[..., Any], config: dict[str, int]) -> None:
    """Its positions count from that id, also where config.json leaves it to the default."""
    with pytest.raises(UnsupportedError) as raised:
        write(("a", *SPECIAL), SPECIAL, model_type="xlm-roberta", **config)
    assert str(raised.value) == (
        "config.json: positions count from the padding id, which was 1 and would be 0; leave"
        " [prune] vocabulary out to write this model back"
    )


def test_roberta_s_padding_is_written_where_it_stays(write: Callable[..., Any]) -> None:
    """So that nobody has to know the default."""
    before = ("[CLS]", "[PAD]", "[UNK]", "a")
    _, config = write(before, before[:3], model_type="roberta")
    assert config["pad_token_id"] == 1


@pytest.mark.parametrize("settings", [[], {"added_tokens_decoder": []}])
def test_settings_that_are_none_are_told(write: Callable[..., Any], settings: Any) -> None:
    """One line."""
    with pytest.raises(ModelError, match=r"tokenizer_config\.json: not a JSON object"):
        write(("a", *SPECIAL), SPECIAL, settings)
