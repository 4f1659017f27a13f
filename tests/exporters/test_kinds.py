"""Images, sound, decoders, encoder-decoders: every part, and the table of all architectures.

The table in docs/architectures.md is what these tests and those of text encoders found;
EDGECOMPILE_WRITE_DOCS=1 writes it anew.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("optimum.exporters.onnx")

from edgecompile import pipeline, target  # noqa: E402 - after the skip
from edgecompile.emit import onnxruntime  # noqa: E402
from edgecompile.evaluate import accuracy  # noqa: E402
from edgecompile.export import read_model  # noqa: E402
from edgecompile.parts import has_cache  # noqa: E402
from edgecompile.prepare import Prepared, prepare_parts  # noqa: E402
from edgecompile.recipe import CalibrationTable, Recipe  # noqa: E402

Array = npt.NDArray[Any]

pytestmark = [
    pytest.mark.exporters,
    pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script(_method)?` is deprecated"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning"),
]

DOCS = Path(__file__).parents[2] / "docs" / "architectures.md"
RECIPE = Recipe(calibration=CalibrationTable("random", 16))
COSINE = 0.98
"""Random layers of 32 channels lose more to int8 than trained ones of 384."""

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
TEXT = SMALL | {"vocab_size": 120, "max_position_embeddings": 96}
DISTILLED = {
    "dim": 32,
    "hidden_dim": 64,
    "n_layers": 2,
    "n_heads": 4,
    "vocab_size": 120,
    "max_position_embeddings": 96,
}
GROUPED = TEXT | {"num_key_value_heads": 2}
IMAGE = SMALL | {"image_size": 32, "patch_size": 8}
WINDOWS = {
    "image_size": 32,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [2, 2],
    "num_heads": [2, 4],
    "window_size": 4,
}
SOUND = SMALL | {
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 2, 2),
    "conv_kernel": (10, 3, 3),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "num_feat_extract_layers": 3,
    "vocab_size": 32,
}
SEQ2SEQ = {
    "vocab_size": 120,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 96,
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
MODEL, CAUSAL, ANSWER = "AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"
SPEECH = "AutoModelForSpeechSeq2Seq"


@dataclasses.dataclass(frozen=True)
class Case:
    """A small model of one architecture, and how many attentions of its encoder are recognised.

    A decoder without a cache has two a layer; those that read a cache stay as they were written.
    """

    model_type: str
    config: Mapping[str, Any]
    auto: str = MODEL
    attentions: int = 2
    gain: float = 1.5


CASES = {
    case.model_type: case
    for case in (
        Case("bert", TEXT),
        Case("distilbert", DISTILLED),
        Case("roberta", TEXT | {"pad_token_id": 1}),
        Case("xlm-roberta", TEXT | {"pad_token_id": 1}),
        Case("vit", IMAGE),
        Case("deit", IMAGE),
        Case("beit", IMAGE),
        Case("data2vec-vision", IMAGE),
        Case("swin", WINDOWS, attentions=3),
        Case("swinv2", WINDOWS, attentions=0),
        Case("yolos", IMAGE | {"image_size": [32, 32], "num_detection_tokens": 4}),
        Case(
            "segformer",
            {
                "hidden_sizes": [16, 32, 32, 32],
                "depths": [1, 1, 1, 1],
                "num_attention_heads": [1, 2, 4, 4],
            },
            attentions=4,
        ),
        Case("clip_vision_model", IMAGE, "CLIPVisionModel"),
        Case(
            "clip",
            {"text_config": TEXT, "vision_config": IMAGE, "projection_dim": 16},
            attentions=4,
        ),
        Case("siglip_vision_model", IMAGE, "SiglipVisionModel"),
        Case("wav2vec2", SOUND),
        Case("hubert", SOUND),
        Case("wavlm", SOUND, attentions=0),
        Case(
            "audio-spectrogram-transformer",
            SMALL
            | {"patch_size": 8, "frequency_stride": 8, "time_stride": 8}
            | {"max_length": 64, "num_mel_bins": 32},
        ),
        Case(
            "whisper",
            SEQ2SEQ
            | TOKENS
            | {"num_mel_bins": 16, "max_source_positions": 1500, "max_target_positions": 64}
            | {"suppress_tokens": None, "begin_suppress_tokens": None},
            SPEECH,
        ),
        Case(
            "t5",
            TOKENS
            | {"vocab_size": 120, "d_model": 32, "d_kv": 8, "d_ff": 64}
            | {"num_layers": 2, "num_heads": 4},
            ANSWER,
        ),
        Case("bart", SEQ2SEQ | TOKENS, ANSWER),
        Case("marian", SEQ2SEQ | TOKENS, ANSWER),
        Case("pegasus", SEQ2SEQ | TOKENS, ANSWER),
        Case(
            "gpt2",
            {"vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96},
            CAUSAL,
        ),
        Case("opt", TEXT | {"ffn_dim": 64, "word_embed_proj_dim": 32}, CAUSAL),
        Case("llama", GROUPED, CAUSAL),
        Case("mistral", GROUPED, CAUSAL),
        Case("qwen2", GROUPED, CAUSAL),
        Case("qwen3", GROUPED | {"head_dim": 8}, CAUSAL),
        Case("gemma", GROUPED | {"head_dim": 8}, CAUSAL),
        Case("phi", TEXT, CAUSAL),
        Case("gpt_neox", TEXT, CAUSAL),
        Case("bloom", {"vocab_size": 120, "hidden_size": 32, "n_layer": 2, "n_head": 4}, CAUSAL),
    )
}
SEGFORMER_SIZE = {"size": {"height": 64, "width": 64}}


@dataclasses.dataclass(frozen=True)
class Made:
    """A case, its torch module, and what the pipeline prepared of its parts."""

    name: str
    case: Case
    module: Any
    parts: Mapping[str, Prepared]


@pytest.fixture(scope="module", params=CASES)
def made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    randomise: Callable[..., Any],
) -> Made:
    """Save a random checkpoint; export it, and calibrate every part on random inputs.

    On the way, the canonical graph is compared with the exported one, on the probe's inputs and on
    the golden ones: another answer would be an error.
    """
    case = CASES[request.param]
    auto = getattr(transformers, case.auto)
    if case.auto.startswith("Auto"):
        config = transformers.AutoConfig.for_model(case.model_type, **case.config)
        module = auto.from_config(config)
    else:
        module = auto(auto.config_class(**case.config))
    module = randomise(module, case.gain)
    folder = tmp_path_factory.mktemp("checkpoint")
    module.save_pretrained(folder, safe_serialization=True)
    module = auto.from_pretrained(folder).eval()  # Marian makes its positions anew
    if case.model_type == "segformer":  # its config.json names no size
        (folder / "preprocessor_config.json").write_text(json.dumps(SEGFORMER_SIZE))
    source = read_model.find_source(folder)
    parts = {p.part.name: p for p in prepare_parts(source, RECIPE, pipeline.Trace())}
    return Made(request.param, case, module, parts)


def test_every_part_is_exported(made: Made) -> None:
    """One graph, or an encoder and a decoder with and without a cache."""
    several = made.case.auto in (ANSWER, SPEECH)
    wanted = ["encoder", "decoder", "decoder-with-past"] if several else [""]
    assert list(made.parts) == wanted


def test_the_float_graph_answers_as_torch_does(made: Made) -> None:
    """The first output of the first golden sample, within 1e-4 of its size."""
    name, prepared = list(made.parts.items())[-1] if len(made.parts) == 1 else _decoder(made)
    feed = {n: torch.from_numpy(a) for n, a in prepared.data.golden[0].items()}
    wanted = _ask(made, name, feed)
    found = prepared.expected[0][0]
    assert found.shape == wanted.shape
    size = max(1.0, float(np.sqrt(np.square(wanted).mean())))
    assert np.abs(found - wanted).max() <= 1e-4 * size


def _decoder(made: Made) -> tuple[str, Prepared]:
    return "decoder", made.parts["decoder"]


def _ask(made: Made, part: str, feed: Mapping[str, Any]) -> Array:
    """Return the torch module's answer to what a part is fed."""
    inputs = {n: t for n, t in feed.items() if not n.startswith("past_key_values")}
    if part == "decoder":
        renamed = {"decoder_input_ids": inputs["input_ids"]}
        renamed["encoder_outputs"] = (inputs["encoder_hidden_states"],)
        if "encoder_attention_mask" in inputs:
            renamed["attention_mask"] = inputs["encoder_attention_mask"]
        inputs = renamed
    with torch.no_grad():
        found: Array = made.module(**inputs, return_dict=False)[0].numpy()
    return found


def test_a_step_after_a_cache_answers_as_the_whole_does(made: Made) -> None:
    """What the float model cached is what the decoder would compute again."""
    if "decoder" not in made.parts:
        pytest.skip("one graph")
    whole, step = made.parts["decoder"], made.parts["decoder-with-past"]
    for number in (0, 3):
        one, all_logits = (p.expected[number][0] for p in (step, whole))
        size = max(1.0, float(np.abs(all_logits).max()))
        assert np.abs(one[0, -1] - all_logits[0, -1]).max() <= 1e-4 * size


def test_int8_for_x86_64_runs(
    made: Made, tmp_path: Path, rows: list[dict[str, Any]], describe: Callable[..., dict[str, Any]]
) -> None:
    """Every part runs as int8 and answers as the float model; every Linear is int8 or excused."""
    for part, prepared in made.parts.items():
        lowered = pipeline.lower(prepared.model, prepared.plan, target.load("x86-64"))
        (name, *_) = onnxruntime.write(lowered, tmp_path, {})
        run = onnxruntime.runner(tmp_path / name)
        golden = prepared.data.golden
        answers = [run(feed) for feed in golden]
        found = accuracy.compare("cosine", answers, prepared.expected, golden)
        row = describe(made.name, prepared, lowered)
        rows.append(row)
        cached = has_cache(prepared.model)
        assert row["Attention"] == {"decoder": 4}.get(part, 0 if cached else made.case.attentions)
        assert found.mean >= COSINE


def test_the_table_in_the_docs_is_current(rows: list[dict[str, Any]]) -> None:
    """docs/architectures.md says what was found in all architectures, these and text encoders."""
    lines = [_line(row) for row in rows]
    if os.environ.get("EDGECOMPILE_WRITE_DOCS"):
        DOCS.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
    written = DOCS.read_text(encoding="utf-8").splitlines()
    wanted = written[len(HEADER.splitlines()) :]
    if len(lines) < len(wanted):
        pytest.skip("not all architectures ran")
    assert written[: len(HEADER.splitlines())] == HEADER.splitlines()
    assert lines == wanted


def _line(row: Mapping[str, Any]) -> str:
    before, after = row["nodes"]
    left = f" ({row['Softmax']} as exported)" if row["Softmax"] else ""
    why = f" ({'; '.join(row['why'])})" if row["why"] else ""
    cells = (
        row["architecture"],
        row["part"],
        row["route"],
        f"{before} → {after}" if row["route"] != "native" else str(after),
        f"{row['Attention']}{left}",
        row["LayerNormalization"],
        row["Gelu"],
        f"{row['int8']} of {row['int8'] + row['float']}{why}",
        row["Conv"] or "",
    )
    return f"| {' | '.join(map(str, cells))} |"


HEADER = """# Architectures

Small models of each architecture, two layers with random weights, are exported, made canonical,
quantized for x86-64 and run by `make test-exporters`. In every row the canonical float graph
answers as the exported one does within 1e-4, the int8 one within a mean cosine of 0.98 (on random
inputs; layers of 32 channels lose more than those of 384), and every Linear is int8 or listed with
its reason. That run compares this table with what it finds; with EDGECOMPILE_WRITE_DOCS=1 it
writes it.

*Attention* that is not recognised, as where it reads a cache, stays in the operators that the
exporter wrote, in float; its Linears become int8 all the same. Convolutions (patches, sound,
SqueezeBERT's layers) stay float. CLIP's text encoder alone (CLIPTextModel) is not exported by
optimum; it is part of `clip`.

| architecture | part | route | operators | Attention | LayerNorm. | Gelu | int8 Linears | Conv |
|---|---|---|---|---|---|---|---|---|"""
