"""A stage's passes, run in order on a model, each noted in the trace."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgecompile.plan import FLOAT, Plan
from edgecompile.target import REFERENCE, Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir


def lower(model: "ir.Model", plan: Plan, board: Target, trace: Trace | None = None) -> "ir.Model":
    """Return the canonical graph in the operators that a target's engine runs fast."""
    return run_stage(f"lower/{board.engine}", model, {"plan": plan, "target": board}, trace)


def lower_float(model: "ir.Model") -> "ir.Model":
    """Return the canonical graph as the float model that everything is compared with."""
    return lower(model, FLOAT, REFERENCE)


def run_stage(
    stage: str, model: "ir.Model", context: Mapping[str, Any], trace: Trace | None
) -> "ir.Model":
    """Run all passes of a stage; `context` holds what they ask for besides the model."""
    from edgecompile import passes

    for step, result in passes.run(passes.passes_of(stage), model, context):
        model = result
        if trace is not None:
            trace.add(step, model)
    return model
