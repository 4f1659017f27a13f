"""Engine rknn: the encoder on Rockchip's NPU, lookups before it and pooling behind it on the host.

The bundle holds encoder.rknn for rknn-toolkit-lite2, embed.onnx and pool.onnx for onnxruntime, and
run_parts.py, which runs them as one. A text is padded to the one length. Batch 1.

Linears are int8; by the profile the rest is float16, or int8 too. Scheme "none" is float16
throughout. Nothing runs on the CPU but what the target's file knows that its NPU lacks.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.chip import chip_of
from edgecompile.errors import DataError, UnsupportedError
from edgecompile.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan
    from edgecompile.rockchip.compile_encoder import Wish
    from edgecompile.rockchip.read_log import Report
    from edgecompile.target import Target

TOOLCHAIN = "rknn"
PACKAGE = "rknn-toolkit-lite2"
"""What pip installs on the device."""
BESIDE = ("onnxruntime",)
"""And this, for what is before and behind the encoder."""
ISAS = ("aarch64",)
"""Machines that its wheels are for."""
PROFILES = ("fast", "accurate")
"""Tried in this order, until the gate holds: int8 throughout, then with float16."""
NO_LADDER = "lower the [gate], or ask for float16: [quantize] scheme = 'none'"
"""What to do below the gate."""
ROUNDS_OUTPUTS = FIXED_SHAPES = ONE_LENGTH = True
"""Outputs are rounded, so the plan has their factors; the file holds one graph of one length."""
HOW = "the artifact executed by Rockchip's simulator (rknn-toolkit2), texts padded"
JUDGES = 32
"""Golden samples that judge: the simulator takes some tenths of a second for each."""
CALIBRATE = 32
"""Samples that the vendor's quantizer observes: more change nothing on MiniLM."""
ON_CPU = "on_cpu"
"""Key of a target's `chip`: operators, in the vendor's names, that its NPU is known not to have."""
NARROW = ("Conv",)
"""What is int8 in profile `accurate`, in the vendor's names: Linears. Attention in 8 bits would
cost MiniLM 0.0005, and 0.005 on the RK3566, which has no operator for it as a whole."""


def observe(plan: "Plan", target: "Target", model: "ir.Model", feeds: "Iterable[Feed]") -> "Plan":
    """Return the plan with the samples that the vendor's quantizer observes."""
    from itertools import islice

    del target, model
    return replace(plan, samples=tuple(islice(feeds, CALIBRATE)))


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = 0,
) -> list[str]:
    """Write the parts; return the names of their files, the one to run first at the front.

    Raises UnsupportedError where the NPU does not take an operator, ToolchainError where the
    compiler fails, or its artifact is not what it should be.
    """
    from edgecompile.device import run_parts
    from edgecompile.facts import PROFILE, TEXT_AXES
    from edgecompile.graph import sizes
    from edgecompile.placement import EMBED, ENCODER, POOL, cut_part
    from edgecompile.rockchip.compile_encoder import compile_encoder
    from edgecompile.rockchip.finish_bundle import describe

    del one_file_bytes
    parts = {part: cut_part(model, part) for part in (EMBED, ENCODER, POOL)}
    names = [_save(parts[EMBED], folder, run_parts.EMBED, metadata)]
    if len(parts[POOL].graph):
        names.append(_save(parts[POOL], folder, run_parts.POOL, metadata))
    encoder = parts[ENCODER]
    samples = _samples(model, encoder, parts[EMBED])
    wish = _wish(model, encoder, quantized=bool(samples))
    with scratch_folder() as scratch:
        file = scratch / _save(encoder, scratch, "encoder.onnx", {})
        report = compile_encoder(file, wish, samples, folder)
    _check_places(report, chip_of(model).get(ON_CPU, "").split(","))
    axes = json.loads(model.metadata_props.get(TEXT_AXES, "{}"))
    about = {
        **wish.request,
        "profile": model.metadata_props.get(PROFILE, ""),
        "outputs": {str(value.name): sizes(value) for value in encoder.graph.outputs},
        "answers": {str(value.name): axes.get(value.name) for value in model.graph.outputs},
        "compiled": describe(report),
    }
    text = json.dumps(about, indent=2, sort_keys=False) + "\n"
    (folder / run_parts.ABOUT).write_text(text, encoding="utf-8")
    program = Path(run_parts.__file__)
    shutil.copyfile(program, folder / program.name)
    return [*names, run_parts.ENCODER, run_parts.ABOUT, program.name]


def _check_places(report: "Report", known: "Sequence[str]") -> None:
    """Refuse what the NPU leaves to the CPU, but for what the target's file knows to be so."""
    left = [operator for operator in report.on_cpu if operator.kind not in known]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        msg = (
            f"rknn: the NPU does not take '{left[0].name}' ({left[0].kind}){more}, and nothing may"
            " run on the CPU; choose another target for this model"
        )
        raise UnsupportedError(msg)


def _save(model: "ir.Model", folder: Path, name: str, metadata: Mapping[str, str]) -> str:
    """Write a part as an .onnx file."""
    from edgecompile.emit import onnxruntime

    with scratch_folder() as scratch:
        (made, *more) = onnxruntime.write(model, scratch, metadata)
        if more:
            msg = f"{name} has more than 2 GB: its tables are too large for a board"
            raise UnsupportedError(msg)
        shutil.copyfile(scratch / made, folder / name)
    return name


def _wish(model: "ir.Model", encoder: "ir.Model", *, quantized: bool) -> "Wish":
    """Say what is compiled."""
    from edgecompile.facts import PROFILE
    from edgecompile.rockchip.compile_encoder import Wish

    inputs = [str(value.name) for value in encoder.graph.inputs]
    chip = {key: value for key, value in chip_of(model).items() if key != ON_CPU}
    narrow = None if model.metadata_props.get(PROFILE) == "fast" else NARROW
    return Wish(chip, inputs, narrow, quantized)


def _samples(model: "ir.Model", encoder: "ir.Model", embed: "ir.Model") -> "list[list[FloatArray]]":
    """Return what the vendor's quantizer observes: what the host gives the encoder of each sample.

    Padding holds copies of what is there: the mask hides it, and ranges are those of real tokens.
    """
    from edgecompile.data.fit_feed import fit_feed
    from edgecompile.facts import SAMPLES
    from edgecompile.graph import sizes
    from edgecompile.session import run, session

    length = max((size for v in model.graph.inputs for size in sizes(v)[1:2]), default=0)
    inputs = [str(value.name) for value in encoder.graph.inputs]
    opened = session(embed)
    wanted = [value.name for value in opened.get_inputs()]
    found = []
    for number, feed in enumerate(model.meta.get(SAMPLES, ()), 1):
        fitted = fit_feed(feed, model, length)
        found.append(run(opened, inputs, {name: fitted[name] for name in wanted}, number))
    return found


def answer_all(artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return the simulator's answers, outputs in the artifact's order."""
    import onnxruntime as ort

    from edgecompile.device.run_parts import ABOUT, ENCODER, FeedError, open_parts
    from edgecompile.rockchip.compile_encoder import Wish, simulate

    folder = artifact.parent
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    wish = Wish(about["chip"], about["inputs"], about["narrow"], bool(about["calibration"]))
    opened = open_parts(ort, folder, 0, lambda batch: simulate(folder / ENCODER, wish, batch))
    try:
        return [list(answers.values()) for answers in opened(feeds)]
    except FeedError as error:
        raise DataError(str(error)) from error


def finish(
    names: list[str], board: "Target", folder: Path, say: "Callable[[str, str], None]"
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Return all files, rows for the profile, a table for the manifest."""
    from edgecompile.rockchip.finish_bundle import finish_bundle

    return finish_bundle(names, board, folder, say)
