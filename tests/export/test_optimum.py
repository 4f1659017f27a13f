"""What optimum is asked for, and what its files are called here."""

from pathlib import Path

import pytest

from edgecompile.errors import UnsupportedError
from edgecompile.export.checkpoint import Config
from edgecompile.export.optimum import part_name, task_of

# transformers' DeBERTa and ModernBERT, when they are imported
pytestmark = pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script(_method)?` is deprecated")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("model.onnx", ""),
        ("encoder_model.onnx", "encoder"),
        ("decoder_model.onnx", "decoder"),
        ("decoder_with_past_model.onnx", "decoder-with-past"),
        ("vision_encoder.onnx", "vision-encoder"),
    ],
)
def test_a_part_is_called_after_its_file(file: str, name: str) -> None:
    """A single graph has no name."""
    assert part_name(Path(file)) == name


def config(model_type: str, architecture: str) -> Config:
    """Return a config.json of a class."""
    return Config(Path("config.json"), {"model_type": model_type, "architectures": [architecture]})


@pytest.mark.exporters
@pytest.mark.parametrize(
    ("model_type", "architecture", "task"),
    [
        ("albert", "AlbertModel", "feature-extraction"),
        ("albert", "AlbertForMaskedLM", "fill-mask"),
        ("xlm", "XLMWithLMHeadModel", "fill-mask"),
        ("gpt2", "GPT2LMHeadModel", "text-generation-with-past"),
        ("gpt2", "GPT2Model", "feature-extraction"),
        ("llama", "LlamaForCausalLM", "text-generation-with-past"),
        ("t5", "T5ForConditionalGeneration", "text2text-generation-with-past"),
        ("marian", "MarianMTModel", "text2text-generation-with-past"),
        ("whisper", "WhisperForConditionalGeneration", "automatic-speech-recognition-with-past"),
        ("wav2vec2", "Wav2Vec2ForSequenceClassification", "audio-classification"),
        ("wav2vec2", "Wav2Vec2ForCTC", "automatic-speech-recognition"),
        ("vit", "ViTForImageClassification", "image-classification"),
        ("clip", "CLIPModel", "feature-extraction"),
    ],
)
def test_the_task_follows_the_class(model_type: str, architecture: str, task: str) -> None:
    """With a cache where optimum knows the architecture with one, so that it can generate."""
    pytest.importorskip("optimum.exporters.onnx")
    assert task_of(config(model_type, architecture)) == task


@pytest.mark.exporters
@pytest.mark.parametrize(
    ("model_type", "architecture", "message"),
    [
        ("unheard_of", "UnheardOfModel", "optimum exports no model_type 'unheard_of'"),
        ("albert", "AlbertForSomethingNew", "what a 'AlbertForSomethingNew' does is not known"),
        ("albert", "", "what a '' does is not known"),
    ],
)
def test_what_optimum_does_not_know_is_named(
    model_type: str, architecture: str, message: str
) -> None:
    """One line, with what to do instead."""
    pytest.importorskip("optimum.exporters.onnx")
    with pytest.raises(UnsupportedError, match=message) as raised:
        task_of(config(model_type, architecture))
    assert "give the .onnx" in str(raised.value)
    assert "\n" not in str(raised.value)
