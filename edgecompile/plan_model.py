"""Decide which numbers of a float model become low-bit: observe samples, make the plan."""

from typing import TYPE_CHECKING

from edgecompile.plan import FLOAT, Plan
from edgecompile.recipe import WEIGHT_SCHEMES, Recipe
from edgecompile.stages import lower, lower_float
from edgecompile.target import REFERENCE
from edgecompile.trace import Trace

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset


def plan_model(
    model: "ir.Model",
    data: "Dataset",
    recipe: Recipe,
    *,
    outputs: bool,
    trace: Trace,
) -> Plan:
    """Return the plan of the recipe's scheme for a canonical graph.

    `outputs` says that an engine rounds what Linears give: it is observed too.
    """
    scheme = recipe.quantize.scheme
    reference = lower_float(model)
    if scheme == "int8":
        return _quantize(model, reference, data, recipe, outputs=outputs, trace=trace)
    if scheme in WEIGHT_SCHEMES:
        return _quantize_weights(model, reference, data, recipe, trace)
    return FLOAT


def _quantize(
    model: "ir.Model",
    reference: "ir.Model",
    data: "Dataset",
    recipe: Recipe,
    *,
    outputs: bool,
    trace: Trace,
) -> Plan:
    from edgecompile.graph import linears
    from edgecompile.quantize.choose_range import narrow_ranges
    from edgecompile.quantize.decide_plan import decide_plan
    from edgecompile.quantize.observe_histograms import observe_histograms
    from edgecompile.quantize.observe_ranges import observe_ranges

    wishes = recipe.quantize
    trace.say("quantize", f"observing {len(data.calibration)} calibration samples")
    with trace.step("quantize", "observe-ranges") as done:
        if outputs:  # Linears that stay float are not joined, so each one's output is there
            apart = Plan(kept_float={linear.name: "" for linear in linears(model.graph)})
            reference = lower(model, apart, REFERENCE)
        observed = observe_ranges(reference, data.calibration, outputs=outputs)
        done(reference)
    with trace.step("quantize", "decide-plan") as done:
        plan = decide_plan(
            model,
            observed,
            equalise=wishes.equalise,
            correct_bias=wishes.bias_correction,
            outputs=outputs,
        )
        done(model)
    if wishes.ranges != "minmax":
        with trace.step("quantize", "observe-histograms") as done:
            seen = observe_histograms(reference, plan.activations, data.calibration)
            plan = narrow_ranges(plan, seen, wishes.ranges)
            done(reference)
    return _observe_hessians(reference, plan, data, recipe, trace)


def _quantize_weights(
    model: "ir.Model", reference: "ir.Model", data: "Dataset", recipe: Recipe, trace: Trace
) -> Plan:
    from edgecompile.quantize.plan_weights import plan_weights

    weights = WEIGHT_SCHEMES[recipe.quantize.scheme]
    trace.say("quantize", f"{weights} weights, by blocks")
    with trace.step("quantize", "plan-weights") as done:
        plan = plan_weights(model, weights)
        done(model)
    return _observe_hessians(reference, plan, data, recipe, trace)


def _observe_hessians(
    reference: "ir.Model", plan: Plan, data: "Dataset", recipe: Recipe, trace: Trace
) -> Plan:
    """Observe what GPTQ rounds by, if it is asked for."""
    from edgecompile.quantize.observe_hessians import observe_hessians

    if recipe.quantize.rounding != "gptq":
        return plan
    with trace.step("quantize", "observe-hessians") as done:
        plan = observe_hessians(reference, plan, data.calibration)
        done(reference)
    return plan
