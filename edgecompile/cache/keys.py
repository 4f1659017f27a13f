"""What each stage's result depends on: the key under which it is kept.

    parts, float      the model's files, the data, the tables that prepare it, this CPU's kernels
    plan              float, [quantize]
    observe           plan, engine, lengths: the same for all chips of an NPU
    artifact          plan, target, [gate], what judges here
    bundle            artifact, [profile], this computer, what sbom.cdx.json says besides
    report            what the bundle says

[budget] is in none but the last: it judges, and makes nothing. All hold the code and its tools.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgecompile import engines
from edgecompile.cache.digest import code_version, digest, stamp, tool_versions
from edgecompile.cache.inputs import DATA, Inputs
from edgecompile.host import read_host
from edgecompile.licences import licence_in_card
from edgecompile.recipe import Recipe
from edgecompile.report.sbom import EPOCH
from edgecompile.target import Target

if TYPE_CHECKING:
    from edgecompile.export.read_model import Source

Key = Mapping[str, Any]

OF_PLAN = ("scheme", "ranges", "rounding", "equalise", "bias_correction")
"""The keys of [quantize] that say what is rounded and how; the others are of single targets."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one part of a model.

    `spent_on` is the target of [prune]'s budgets; `outputs` says that what Linears give is planned.
    """

    source: "Source"
    part: str
    inputs: Inputs
    recipe: Recipe
    spent_on: Target | None
    outputs: bool = False

    def floats(self) -> Key:
        """Return the key of the pruned float model, its data and the dense one's answers."""
        recipe, host = self.recipe, read_host()
        tables: dict[str, Any] = {
            name: asdict(getattr(recipe, name)) for name in ("calibration", "prune", "model")
        }
        tables["evaluate"] = {"data": recipe.evaluate.data, "column": recipe.evaluate.column}
        tables["sequence"] = recipe.shapes.sequence
        if recipe.distils:
            tables["distill"] = asdict(recipe.distill)
        if recipe.distils or recipe.prune.vocabulary or recipe.prune.cuts_units:
            tables["gate"] = asdict(recipe.gate)  # the float model is judged already
        if recipe.prune.budget:
            tables["quantize"] = asdict(recipe.quantize)
            tables["timed"] = recipe.profile.sequence
            tables["target"] = asdict(self.spent_on) if self.spent_on else None
            tables["host"] = asdict(host)
        for table, key in DATA:  # what lies there counts, not where it lies
            if key in tables.get(table, ()) and f"{table}.{key}" in self.inputs.data:
                tables[table][key] = ""
        tables["model"].pop("source")
        return {
            "model": dict(self.inputs.model),
            "beside": dict(self.inputs.beside),
            "name": self.source.name,
            "route": self.source.route,
            "part": self.part,
            "data": dict(self.inputs.data),
            "recipe": tables,
            "kernels": [host.isa, host.features],
            "code": code_version(),
            "tools": dict(tool_versions()),
        }

    def plan(self) -> Key:
        """Return the key of the quantization plan."""
        wishes = {key: getattr(self.recipe.quantize, key) for key in OF_PLAN}
        return {"float": digest(self.floats()), "quantize": wishes, "outputs": self.outputs}

    def observed(self, board: Target, embeddings: str) -> Key:
        """Return the key of what an engine observes itself: any chip of it sees the same."""
        anyone = replace(
            board, name="", description="", chip=(), runtime="", cpu_features=(), cpu=None,
            power=None, latency=None,
        )  # fmt: skip
        plan = {"plan": digest(self.plan()), "embeddings": embeddings}
        return plan | {"target": asdict(anyone)}

    def artifact(self, board: Target) -> Key:
        """Return the key of an artifact that was judged."""
        return {
            "plan": digest(self.plan()),
            "target": asdict(board),
            "gate": asdict(self.recipe.gate),
            "quantize": asdict(self.recipe.quantize),
            "cpu": read_host().cpu,
            "judges": _judges(board, self.recipe),
        }

    def bundle(self, boards: Sequence[Target]) -> Key:
        """Return the key of a finished bundle, whose times are this computer's."""
        return {
            "artifacts": [self.artifact(board) for board in boards],
            "shapes": asdict(self.recipe.shapes),
            "profile": asdict(self.recipe.profile),
            "host": asdict(read_host()),
            "licence": licence_in_card(self.source.folder),
            "moment": os.environ.get(EPOCH),
        }


def report_key(manifest: Key) -> Key:
    """Return the key of a bundle's page: its manifest has the hashes of all that it shows."""
    return {"manifest": manifest, "code": code_version(), "tools": dict(tool_versions())}


def _judges(board: Target, recipe: Recipe) -> Key:
    """Return what judges an artifact beside this CPU, if it is set up here, and compiles it."""
    from edgecompile.evaluate import emulate_avx2
    from edgecompile.judge_on_board import ARCHITECTURE, why_not

    judged = board.isa in ARCHITECTURE and why_not(read_host(), board, recipe.evaluate.emulate)
    return {
        "qemu": stamp(emulate_avx2.find_qemu()) if board.isa == "x86_64" else [],
        "board": judged,
        "toolchain": dict(engines.toolchain_record(board)),
    }
