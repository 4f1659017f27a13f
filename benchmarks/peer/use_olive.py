"""Quantize with Olive: its transformer optimisation, then its pass over onnxruntime's quantizer."""

import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from olive.data.component.dataset import BaseDataset
from olive.data.registry import Registry
from olive.workflows import run
from request import Feed, read_samples, serve

HEADS, WIDTH = 12, 384
STATIC, DYNAMIC = "OnnxStaticQuantization", "OnnxDynamicQuantization"
BEST = {"per_channel": True, "reduce_range": True}
ALL_LINEARS = {"op_types_to_quantize": ["MatMul", "Gemm", "Attention"]}


def quantize(
    model: Path, folder: Path, _feeds: list[Feed], *, kind: str, settings: dict[str, Any]
) -> None:
    """Run a workflow of two passes and keep its model."""
    quantization = {"type": kind, **settings}
    if kind == STATIC:
        quantization["data_config"] = {
            "name": "sentences",
            "type": "DataContainer",
            "load_dataset_config": {"type": "sentences", "params": {"path": sys.argv[3]}},
        }
    optimise = {"type": "OrtTransformersOptimization", "model_type": "bert"}
    with tempfile.TemporaryDirectory() as scratch:
        workflow = {
            "input_model": {"type": "ONNXModel", "model_path": str(model)},
            "passes": {
                "optimise": optimise | {"num_heads": HEADS, "hidden_size": WIDTH},
                "quantize": quantization,
            },
            "output_dir": str(folder / "output"),
            "cache_dir": scratch,
            "evaluate_input_model": False,
            "log_severity_level": 2,
        }
        run(workflow)
    # Olive ends with success and a traceback in its log where a pass fails.
    found = next((folder / "output").rglob("*.onnx"), None)
    if found is None:
        sys.exit("Olive ended with success and wrote no model")
    found.rename(folder / "model.onnx")


@Registry.register_dataset()
def sentences(path: str, **_more: Any) -> BaseDataset:
    """Return the samples as Olive's dataset: (inputs, label)."""
    rows = [{name: array[0] for name, array in feed.items()} for feed in read_samples(Path(path))]
    return BaseDataset([(row, 0) for row in rows])


if __name__ == "__main__":
    serve(
        {
            "dynamic": partial(quantize, kind=DYNAMIC, settings={}),
            "dynamic_best": partial(quantize, kind=DYNAMIC, settings=BEST),
            "static": partial(quantize, kind=STATIC, settings={}),
            "static_best": partial(quantize, kind=STATIC, settings=BEST | ALL_LINEARS),
        }
    )
