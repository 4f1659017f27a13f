"""A model directory of any architecture -> a graph, through optimum-onnx and torch (an extra)."""

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir

from edgecompile.errors import EdgeCompileError, UnsupportedError
from edgecompile.export import onnx_file
from edgecompile.export.checkpoint import Config, open_weights

OPSET = 18
TASKS = {
    "ForImageClassification": "image-classification",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "Model": "feature-extraction",
}


def export(folder: Path, config: Config) -> ir.Model:
    """Export with optimum, offline, from safetensors only, no remote code."""
    open_weights(folder, config)
    task = next((t for end, t in TASKS.items() if config.architecture.endswith(end)), "auto")
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch, _quiet():
        _run_optimum(folder, Path(scratch), task)
        files = sorted(Path(scratch).glob("*.onnx"))
        if len(files) != 1:
            names = ", ".join(file.name for file in files)
            msg = (
                f"{folder}: exports to {len(files)} graphs ({names}); one is taken: give its .onnx"
            )
            raise UnsupportedError(msg)
        model = onnx_file.read(files[0])
        ir.external_data.load_to_model(model)  # the scratch folder goes away
    return model


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
