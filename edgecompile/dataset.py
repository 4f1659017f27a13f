"""Which samples calibrate and which judge: always apart."""

from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from edgecompile import files, samples
from edgecompile.errors import DataError
from edgecompile.recipe import Recipe
from edgecompile.samples import Encoder, Feed

GOLDEN_SAMPLES = 64
FEWEST_GOLDEN = 8


@dataclass(frozen=True, slots=True)
class Dataset:
    """Feeds to calibrate with, feeds to judge by, the longest sequence, and the files' hashes."""

    calibration: list[Feed]
    golden: list[Feed]
    hashes: dict[str, str] = field(default_factory=dict)


def choose_data(recipe: Recipe, model: ir.Model, folder: Path, longest: int) -> Dataset:
    """Read the recipe's data, or the committed sets; `folder` holds the model's tokenizer.

    Without data of its own for the gate, a recipe's calibration data serves for both: the first
    samples calibrate, those after them judge.
    """
    own = recipe.calibration.data
    calibration = recipe.path(own) if own else samples.data_dir() / "docs.jsonl"
    apart = recipe.path(recipe.evaluate.data) if recipe.evaluate.data else None
    if apart is None and not own:
        apart = samples.data_dir() / "golden.jsonl"
    read = _Reader(recipe, model, folder, longest)
    wanted = recipe.calibration.samples
    if apart is not None:
        first, rest = read(calibration, wanted), read(apart, GOLDEN_SAMPLES)
        if len(rest) < FEWEST_GOLDEN:
            msg = f"{apart}: {len(rest)} samples to judge by; at least {FEWEST_GOLDEN} are needed"
            raise DataError(msg)
    else:
        feeds = read(calibration, wanted + GOLDEN_SAMPLES)
        first, rest = feeds[:wanted], feeds[wanted:]
        if len(rest) < FEWEST_GOLDEN:
            msg = (
                f"{calibration}: {len(feeds)} samples, {wanted} to calibrate with leave"
                f" {len(rest)} to judge by; at least {FEWEST_GOLDEN} are needed: lower"
                " [calibration] samples or name [evaluate] data"
            )
            raise DataError(msg)
    if len(first) < wanted:
        msg = f"{calibration}: holds {len(first)} samples, [calibration] samples asks for {wanted}"
        raise DataError(msg)
    used = {"calibration": calibration} | ({"evaluate": apart} if apart is not None else {})
    hashes = {f"{use}/{path.name}": files.sha256(path) for use, path in used.items()}
    if recipe.model.tokenizer:
        own_tokenizer = recipe.path(recipe.model.tokenizer) / "tokenizer.json"
        hashes["tokenizer/tokenizer.json"] = files.sha256(own_tokenizer)
    if len(set(hashes.values())) < len(hashes):
        msg = f"{apart}: calibrates and judges at once; [evaluate] data must be other data"
        raise DataError(msg)
    return Dataset(first, rest, hashes)


class _Reader:
    """Reads feeds from a file; the tokenizer is opened once, if text is read at all."""

    def __init__(self, recipe: Recipe, model: ir.Model, folder: Path, longest: int) -> None:
        self.recipe, self.model, self.longest = recipe, model, longest
        own = recipe.model.tokenizer
        self.folder = recipe.path(own) if own else folder
        self.encoder: Encoder | None = None

    def __call__(self, path: Path, count: int) -> list[Feed]:
        if not path.is_file():
            msg = f"{path}: no such file; give text (.txt, .jsonl) or model inputs (.npz)"
            raise DataError(msg)
        if path.suffix == ".npz":
            return samples.read_inputs(path, self.model)[:count]
        if path.suffix not in (".txt", ".jsonl"):
            msg = f"{path}: not a known kind of data; give text (.txt, .jsonl) or inputs (.npz)"
            raise DataError(msg)
        if self.encoder is None:
            self.encoder = samples.open_encoder(self.folder, self.model, self.longest)
        return list(self.encoder(samples.read_texts(path)[:count]))
