"""What `plan` says of a model before anything runs."""

import json
from pathlib import Path

import pytest

from edgecompile.preview import preview


@pytest.mark.parametrize(
    ("model_type", "architecture", "apart"),
    [
        ("t5", "T5ForConditionalGeneration", True),
        ("marian", "MarianMTModel", True),
        ("t5", "T5Model", False),
        ("gpt2", "GPT2LMHeadModel", False),
    ],
)
def test_the_parts_of_an_encoder_decoder_are_told(
    model_type: str,
    architecture: str,
    apart: bool,  # noqa: FBT001 - a case
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a checkpoint answers with a decoder, all that follows the export is of each part."""
    values = {"is_encoder_decoder": model_type != "gpt2", "model_type": model_type}
    (tmp_path / "config.json").write_text(json.dumps(values | {"architectures": [architecture]}))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())  # optimum is here
    rows = preview(tmp_path, ["x86-64"])
    assert rows[0]["step"] == "optimum"
    assert (rows[1]["step"] == "parts") == apart
    assert len([row for row in rows if row["step"] == "parts"]) == apart
