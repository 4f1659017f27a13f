"""A model directory of any architecture -> a graph, through optimum-onnx and torch (an extra)."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from edgecompile.errors import EdgeCompileError, UnsupportedError
from edgecompile.export import onnx_file
from edgecompile.export.checkpoint import Config, open_weights
from edgecompile.scratch import scratch_folder

OPSET = 18
SEQ2SEQ = ("text2text-generation", "automatic-speech-recognition", "image-to-text")
CLASSIFY = ("text-classification", "audio-classification", "image-classification")
TASKS: Mapping[str, Sequence[str]] = {
    "ForCausalLM": ("text-generation",),
    "WithLMHeadModel": ("fill-mask",),
    "LMHeadModel": ("text-generation",),
    "ForConditionalGeneration": SEQ2SEQ,
    "MTModel": SEQ2SEQ,
    "EncoderDecoderModel": ("image-to-text", "text2text-generation"),
    "ForMaskedLM": ("fill-mask",),
    "ForSequenceClassification": CLASSIFY,
    "ForAudioClassification": ("audio-classification",),
    "ForImageClassification": ("image-classification",),
    "ForImageClassificationWithTeacher": ("image-classification",),
    "ForTokenClassification": ("token-classification",),
    "ForQuestionAnswering": ("question-answering",),
    "ForCTC": ("automatic-speech-recognition",),
    "ForXVector": ("audio-xvector",),
    "ForAudioFrameClassification": ("audio-frame-classification",),
    "ForObjectDetection": ("object-detection",),
    "ForSemanticSegmentation": ("semantic-segmentation",),
    "ForDepthEstimation": ("depth-estimation",),
    "ModelWithProjection": ("feature-extraction",),
    "Model": ("feature-extraction",),
}
"""What checkpoints of a class do, by the end of its name: the first task that optimum knows for
the architecture. Where optimum also knows it with a cache, it gets one."""
WITH_PAST = "-with-past"


def export(folder: Path, config: Config) -> Mapping[str, ir.Model]:
    """Export with optimum, offline, from safetensors only, no remote code; graphs by name."""
    open_weights(folder, config)
    with scratch_folder() as scratch, _quiet():
        _run_optimum(folder, scratch, config)
        graphs = {part_name(f): onnx_file.read(f) for f in sorted(scratch.glob("*.onnx"))}
        for graph in graphs.values():
            ir.external_data.load_to_model(graph)  # the scratch folder goes away
    return graphs


def task_of(config: Config) -> str:
    """Return optimum's name for what a checkpoint's class does."""
    import optimum.exporters.onnx.model_configs  # noqa: F401 - tells the manager what it exports
    from optimum.exporters.tasks import TasksManager

    try:
        known = TasksManager.get_supported_tasks_for_model_type(
            config.model_type, exporter="onnx", library_name="transformers"
        )
    except KeyError as error:
        msg = (
            f"{config.path}: optimum exports no model_type '{config.model_type}'; export it"
            " yourself and give the .onnx"
        )
        raise UnsupportedError(msg) from error
    for task in _tasks(config):
        for name in (task + WITH_PAST, task):
            if name in known and not (name.endswith(WITH_PAST) and task == "feature-extraction"):
                return name
    msg = (
        f"{config.path}: what a '{config.architecture}' does is not known here; export it yourself"
        " and give the .onnx"
    )
    raise UnsupportedError(msg)


def has_decoder(config: Config) -> bool:
    """Say whether a checkpoint is exported as an encoder and its decoders; imports nothing."""
    return bool(config.values.get("is_encoder_decoder")) and not set(SEQ2SEQ).isdisjoint(
        _tasks(config)
    )


def _tasks(config: Config) -> Sequence[str]:
    return next((t for end, t in TASKS.items() if config.architecture.endswith(end)), ())


def part_name(file: Path) -> str:
    """Return a part's name: encoder_model.onnx -> encoder; model.onnx -> none."""
    return file.stem.removesuffix("model").strip("_").replace("_", "-")


def _run_optimum(folder: Path, scratch: Path, config: Config) -> None:
    # Set before the libraries read them: nothing is fetched, no telemetry is sent.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    from optimum.exporters.onnx import main_export

    try:
        main_export(
            str(folder), scratch, task=task_of(config), opset=OPSET, library_name="transformers",
            local_files_only=True, trust_remote_code=False, do_validation=False,
            no_post_process=True,
        )  # fmt: skip
    except EdgeCompileError:
        raise
    except Exception as error:  # whatever optimum, transformers or torch raise
        what = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        msg = (
            f"{folder}: optimum could not export it: {what}; export it yourself and give the .onnx"
        )
        raise UnsupportedError(msg) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' chatter off the terminal: errors come as exceptions."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                yield
    finally:
        logging.disable(logging.NOTSET)
