"""A model directory of any architecture -> a graph, through optimum-onnx and torch (an extra)."""

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx_ir as ir

from edgecompile.errors import EdgeCompileError, UnsupportedError
from edgecompile.export import onnx_file
from edgecompile.export.checkpoint import Config, open_weights

OPSET = 18
TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "Model": "feature-extraction",
}


def export(folder: Path, config: Config) -> Mapping[str, ir.Model]:
    """Export with optimum, offline, from safetensors only, no remote code; graphs by name."""
    open_weights(folder, config)
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch, _quiet():
        _run_optimum(folder, Path(scratch), task_of(config))
        graphs = {part_name(f): onnx_file.read(f) for f in sorted(Path(scratch).glob("*.onnx"))}
        for graph in graphs.values():
            ir.external_data.load_to_model(graph)  # the scratch folder goes away
    return graphs


def task_of(config: Config) -> str:
    """Return optimum's name for what a checkpoint's class does; "auto" lets optimum choose.

    A generator's class ends in LMHeadModel or ForCausalLM: "auto" exports it with its cache.
    """
    name = config.architecture
    if "LMHead" in name:
        return "auto"
    return next((task for end, task in TASKS.items() if name.endswith(end)), "auto")


def part_name(file: Path) -> str:
    """Return a part's name: encoder_model.onnx -> encoder; model.onnx -> none."""
    return file.stem.removesuffix("model").strip("_").replace("_", "-")


def _run_optimum(folder: Path, scratch: Path, task: str) -> None:
    # Set before the libraries read them: nothing is fetched, no telemetry is sent.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    from optimum.exporters.onnx import main_export

    try:
        main_export(
            str(folder), scratch, task=task, opset=OPSET, library_name="transformers",
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
