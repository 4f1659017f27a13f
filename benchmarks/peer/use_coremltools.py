"""coremltools' own int8 weights of a package, at its best: one scale a channel, symmetric.

A worker (edgecompile/toolchain/worker.py). Request: {"package", "output"}.
"""

from typing import Any

import coremltools as ct
from coremltools.optimize import coreml as optimize


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Round the weights, save."""
    model = ct.models.MLModel(request["package"], skip_model_load=True)
    config = optimize.OpLinearQuantizerConfig(mode="linear_symmetric")
    rounded = optimize.linear_quantize_weights(
        model, optimize.OptimizationConfig(global_config=config)
    )
    rounded.save(request["output"])
    return {}
