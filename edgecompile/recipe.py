"""A recipe (`edgecompile.toml`): what the user wants. Every key has a default."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from edgecompile.budgets.table import Budgets, read_budgets
from edgecompile.byte_size import byte_size
from edgecompile.errors import RecipeError, UnknownNameError
from edgecompile.prune.importances import known as importances
from edgecompile.tables import fill, read_toml


@dataclass(frozen=True, slots=True)
class ModelTable:
    """What to compile."""

    source: str = ""
    tokenizer: str = ""


@dataclass(frozen=True, slots=True)
class ShapesTable:
    """`sequence` is [shortest, longest]: longer texts are cut; the artifact takes any between.

    `buckets` are the token counts that an engine of fixed shapes pads to, besides the longest; by
    default those of [profile].
    """

    sequence: tuple[int, ...] = (1, 512)
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """Data to choose the int8 ranges by: a file, a folder, or "random".

    `column` names the texts' column of a .csv, or their key in a .jsonl.
    """

    data: str = ""
    samples: int = 64
    column: str = ""


@dataclass(frozen=True, slots=True)
class EvaluateTable:
    """Data for the accuracy gate, of the same kinds, kept apart from calibration.

    `emulate` says when a board's artifact is judged on its CPU, emulated: "auto", where what it
    takes is set up here; "always", and fetch it first; "never".
    """

    data: str = ""
    column: str = ""
    emulate: str = "auto"


@dataclass(frozen=True, slots=True)
class PruneTable:
    """`ffn` and `heads` are the shares of FFN channels and attention heads to remove.

    Or `latency`, the share of the dense artifact's time that may stay, or `size`, of the artifact,
    as in "12 MB": both on the first target. Or `threshold`, the smallest norm of a unit that stays.
    `layers` is how many whole layers go first.

    `importance` is a file of prune/importance/; `repair` fits what is left on `samples` samples of
    `data` (`column` as in [calibration]), by default of the calibration data.

    `vocabulary` is text data of the task: the tokens that it never uses are cut.
    `vocabulary_column` names its texts' column or key; a token that occurs less often than
    `vocabulary_min_count` is cut too.
    """

    ffn: float = 0.0
    heads: float = 0.0
    latency: float = 0.0
    size: str = ""
    threshold: float = 0.0
    layers: int = 0
    importance: str = "second-order"
    repair: bool = True
    samples: int = 1024
    data: str = ""
    column: str = ""
    vocabulary: str = ""
    vocabulary_column: str = ""
    vocabulary_min_count: int = 1

    @property
    def size_bytes(self) -> int:
        """Return the bytes that `size` means."""
        return byte_size(self.size) or 0

    @property
    def budget(self) -> bool:
        """Say whether units are cut to a budget on a target."""
        return bool(self.latency or self.size)

    @property
    def cuts_units(self) -> bool:
        """Say whether channels, heads or layers are to go."""
        return bool(self.ffn or self.heads or self.budget or self.threshold or self.layers)


@dataclass(frozen=True, slots=True)
class QuantizeTable:
    """`scheme` is one of QUANTIZE's; `ranges` a method of quantize/choose_range.py.

    "int8-weights" and "int4-weights" round nothing but weights: no range is chosen for them.

    `ladder` lets layers have more precision where the gate does not hold.

    `profile` is for NPUs that have activations of 8 and of 16 bits: "accurate" takes 16 wherever
    it helps, "fast" 8 where it loses little.
    """

    scheme: str = "int8"
    ranges: str = "minmax"
    rounding: str = "nearest"
    equalise: bool = True
    bias_correction: bool = True
    ladder: bool = True
    profile: str = "accurate"


EVALUATE = {"emulate": ("auto", "always", "never")}
"""The known values of [evaluate]."""
WEIGHT_SCHEMES = {"int8-weights": "int8", "int4-weights": "int4"}
"""The schemes that round weights alone, by blocks, and the format of each."""
QUANTIZE = {
    "scheme": ("int8", *WEIGHT_SCHEMES, "none"),
    "ranges": ("minmax", "moving-average", "percentile", "entropy", "mse"),
    "rounding": ("nearest", "gptq"),
    "profile": ("accurate", "fast"),
}
"""The known values of [quantize]."""


@dataclass(frozen=True, slots=True)
class DistillTable:
    """How `edgecompile distill` trains the narrower student to answer as the dense model does.

    `student` is the folder that it writes; `start` a narrower canonical .onnx to begin with,
    instead of what [prune] makes. `data` is texts, images or .npz, of which `held_out` samples
    judge and do not train; `samples` = 0 reads all. `labels` is a column of `data`, or a .npy of
    one whole number a sample. `batch` is that of one process; a step adds up `accumulate` of them.

    `outputs`, `hidden`, `attention` and `label` weigh the losses, `temperature` softens logits;
    `embeddings` trains the tables too. `warmup` is a share of the steps, `clip` the longest
    gradient, `patience` counts evaluations without a gain. `precision` is that of products;
    weights, sums and judging stay float32. `parallel` and `compress` are for several processes:
    see DISTILL.
    """

    student: str = "student"
    start: str = ""
    data: str = ""
    column: str = ""
    labels: str = ""
    samples: int = 0
    held_out: int = 256
    steps: int = 600
    batch: int = 32
    accumulate: int = 1
    seed: int = 0
    outputs: float = 1.0
    hidden: float = 1.0
    attention: float = 0.0
    label: float = 1.0
    temperature: float = 2.0
    embeddings: bool = False
    quantize_aware: bool = False
    learning_rate: float = 0.0003
    warmup: float = 0.05
    weight_decay: float = 0.01
    clip: float = 1.0
    narrow_every: int = 0
    evaluate_every: int = 100
    patience: int = 5
    checkpoint_every: int = 100
    precision: str = "float32"
    parallel: str = "data"
    compress: str = "none"


DISTILL = {
    "precision": ("float32", "bf16"),
    "parallel": ("data", "parameters"),
    "compress": ("none", "fp16", "bf16", "powersgd"),
}
"""The known values of [distill]: number format of products, what is split, how gradients travel."""
AT_LEAST = {
    "held_out": 8, "steps": 1, "batch": 1, "accumulate": 1, "evaluate_every": 1, "patience": 1,
    "checkpoint_every": 1, "samples": 0, "seed": 0, "narrow_every": 0, "outputs": 0, "hidden": 0,
    "attention": 0, "label": 0, "warmup": 0, "weight_decay": 0,
}  # fmt: skip
"""The smallest values of [distill]."""
ABOVE_0 = ("temperature", "learning_rate", "clip")


@dataclass(frozen=True, slots=True)
class GateTable:
    """The floors: mean cosine of embeddings and states, agreement of a classifier's argmax.

    `next_token` is that of a language model's: many of its tokens are near ties.

    `signal` (R^2 over the samples) is asked of every model besides.
    """

    cosine_mean: float = 0.99
    agreement: float = 0.99
    next_token: float = 0.9
    signal: float = 0.9


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """Token counts to time, and how often at least.

    `country` is an ISO 3166 code of three letters, as in "DEU": with it, energy is carbon as well;
    `inferences_a_day` asks for that of a device in a year. `examples` is how many of the samples
    that int8 answers worst the bundle keeps for its report, with their texts.
    """

    sequence: tuple[int, ...] = (16, 64, 128)
    repeats: int = 9
    country: str = ""
    inferences_a_day: int = 0
    examples: int = 8


@dataclass(frozen=True, slots=True)
class TargetsTable:
    """What to compile for."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """All tables; paths are relative to `folder`, where the recipe lies.

    `distils` says that [distill] is in the recipe: its student is then compiled.
    """

    model: ModelTable = field(default_factory=ModelTable)
    shapes: ShapesTable = field(default_factory=ShapesTable)
    calibration: CalibrationTable = field(default_factory=CalibrationTable)
    evaluate: EvaluateTable = field(default_factory=EvaluateTable)
    prune: PruneTable = field(default_factory=PruneTable)
    quantize: QuantizeTable = field(default_factory=QuantizeTable)
    distill: DistillTable = field(default_factory=DistillTable)
    gate: GateTable = field(default_factory=GateTable)
    profile: ProfileTable = field(default_factory=ProfileTable)
    budget: Budgets = field(default_factory=Budgets)
    targets: TargetsTable = field(default_factory=TargetsTable)
    folder: Path = Path()
    distils: bool = False

    def path(self, name: str) -> Path:
        """Return a path that the recipe names."""
        return self.folder / name


BESIDE = ("folder", "distils")
"""What is in a recipe besides its tables."""


def read(path: Path) -> Recipe:
    """Read a recipe; a wrong table, key or value is named with what is known."""
    tables = read_toml(path)
    return from_tables(tables, path, path.parent, distils="distill" in tables)


def from_tables(tables: Mapping[str, Any], path: Path, folder: Path, *, distils: bool) -> Recipe:
    """Make a recipe of its tables; `path` is the file that they are from, for errors."""
    kinds = {f.name: f.default_factory for f in fields(Recipe) if f.name not in BESIDE}
    values: dict[str, Any] = {}
    for name, table in tables.items():
        if name not in kinds:
            what = "table"
            raise UnknownNameError(what, f"[{name}]", [f"[{k}]" for k in kinds], str(path))
        if name == "budget":  # it has tables inside, one a target
            values[name] = read_budgets(table, path)
            continue
        values[name] = fill(kinds[name], table, path, name)  # type: ignore[arg-type]
    recipe = Recipe(**values, folder=folder, distils=distils)
    _check(path, recipe)
    return recipe


def _check_prune(demand: Callable[[bool, str], None], table: PruneTable) -> None:
    demand(0 <= table.latency < 1, "[prune] latency: must lie between 0 and 1, for example 0.6")
    sound = not table.size or byte_size(table.size) is not None
    demand(sound, f"[prune] size: must look like '12 MB', found '{table.size}'")
    demand(table.threshold >= 0, "[prune] threshold: must be at least 0")
    demand(table.layers >= 0, "[prune] layers: must be at least 0")
    given = [key for key in ("latency", "size", "threshold") if getattr(table, key)]
    given += ["ffn and heads"] if table.ffn or table.heads else []
    demand(len(given) < 2, f"[prune] {' and '.join(given)}: give one of them")
    wrong = table.threshold > 0 and table.importance != "magnitude"
    demand(not wrong, "[prune] threshold: is of norms; it goes with importance = 'magnitude'")


def _check(path: Path, recipe: Recipe) -> None:
    def demand(holds: bool, what: str) -> None:  # noqa: FBT001 - a condition
        if not holds:
            msg = f"{path}, {what}"
            raise RecipeError(msg)

    low_high = recipe.shapes.sequence
    demand(
        len(low_high) == 2 and 1 <= low_high[0] <= low_high[1],
        "[shapes] sequence: must be [shortest, longest], for example [8, 512]",
    )
    demand(
        all(1 <= n <= low_high[1] for n in recipe.shapes.buckets),
        f"[shapes] buckets: must lie between 1 and {low_high[1]}, the longest sequence",
    )
    demand(recipe.calibration.samples >= 1, "[calibration] samples: must be at least 1")
    for key in ("ffn", "heads"):
        demand(0 <= getattr(recipe.prune, key) < 1, f"[prune] {key}: must be a share, 0 to below 1")
    demand(recipe.prune.samples >= 1, "[prune] samples: must be at least 1")
    known = importances()
    demand(
        recipe.prune.importance in known,
        f"[prune] importance: '{recipe.prune.importance}' is not known; known: {', '.join(known)}",
    )
    demand(
        recipe.prune.vocabulary_min_count >= 1, "[prune] vocabulary_min_count: must be at least 1"
    )
    _check_prune(demand, recipe.prune)
    demand(
        not (recipe.distill.narrow_every and recipe.prune.budget),
        "[distill] narrow_every: removes ratios on the way; give [prune] ffn and heads, no budget",
    )
    demand(recipe.profile.repeats >= 1, "[profile] repeats: must be at least 1")
    demand(recipe.profile.inferences_a_day >= 0, "[profile] inferences_a_day: must be at least 0")
    country = recipe.profile.country
    demand(
        not country or (len(country) == 3 and country.isalpha()),
        f'[profile] country: must look like "DEU" (ISO 3166, three letters), found "{country}"',
    )
    demand(recipe.profile.examples >= 0, "[profile] examples: must be at least 0")
    demand(
        bool(recipe.profile.sequence) and min(recipe.profile.sequence) >= 1,
        "[profile] sequence: must be a list of token counts, for example [16, 128]",
    )
    for key, known in EVALUATE.items():
        value = getattr(recipe.evaluate, key)
        listed = ", ".join(known)
        demand(value in known, f"[evaluate] {key}: '{value}' is not known; known: {listed}")
    for key, known in QUANTIZE.items():
        value = getattr(recipe.quantize, key)
        listed = ", ".join(known)
        demand(value in known, f"[quantize] {key}: '{value}' is not known; known: {listed}")
    for key, known in DISTILL.items():
        value = getattr(recipe.distill, key)
        demand(
            value in known, f"[distill] {key}: '{value}' is not known; known: {', '.join(known)}"
        )
    for key, least in AT_LEAST.items():
        demand(getattr(recipe.distill, key) >= least, f"[distill] {key}: must be at least {least}")
    for key in ABOVE_0:
        demand(getattr(recipe.distill, key) > 0, f"[distill] {key}: must be more than 0")
    demand(
        recipe.distill.parallel == "data" or recipe.distill.compress == "none",
        '[distill] compress: gradients are compressed with parallel = "data" alone',
    )
    demand(recipe.distill.warmup <= 1, "[distill] warmup: is a share of the steps, 0 to 1")
    for key in ("cosine_mean", "agreement", "next_token", "signal"):
        demand(0 <= getattr(recipe.gate, key) <= 1, f"[gate] {key}: must lie between 0 and 1")
