"""Which samples calibrate and which judge: always apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecompile import files
from edgecompile.data.committed import data_dir
from edgecompile.data.feed import Feed
from edgecompile.data.provenance import digest
from edgecompile.data.source import (
    Source,
    Stretch,
    open_source,
    request_of,
    skipping,
    word_of,
)
from edgecompile.errors import DataError
from edgecompile.recipe import Recipe

GOLDEN_SAMPLES = 64
FEWEST_GOLDEN = 8
GOLDEN_BYTES = 1 << 31
"""Samples that judge are kept: they are asked several times."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """What calibrates and what judges.

    `calibration` is read anew in each iteration, `golden` is kept. `calibrated` and `judged` say
    where they come from, for the manifest; `hashes` are those of the files, by use and name.
    `repair` is what a pruned model is fitted on, `repaired` where it comes from. `texts` are those
    of the golden samples, none where they are no texts.
    """

    calibration: Stretch
    golden: Sequence[Feed]
    calibrated: Mapping[str, Any]
    judged: Mapping[str, Any]
    hashes: Mapping[str, str] = field(default_factory=dict)
    repair: Stretch | None = None
    repaired: Mapping[str, Any] = field(default_factory=dict)
    texts: Sequence[str] = ()

    @property
    def warnings(self) -> list[str]:
        """Return what a user must know of this data, one line each."""
        tables = (self.calibrated, self.judged)
        return list(dict.fromkeys(str(t["warning"]) for t in tables if "warning" in t))

    @property
    def judges(self) -> str:
        """Return what the golden samples are called: "golden samples" or "random samples"."""
        return "random samples" if "warning" in self.judged else "golden samples"


def choose_data(recipe: Recipe, model: ir.Model, folder: Path, longest: int) -> Dataset:
    """Open the recipe's data, or the committed sets; `folder` holds the model's tokenizer.

    Without data of its own for the gate, a recipe's calibration data serves for both: the first
    samples calibrate, those after them judge.
    """
    own, apart = recipe.calibration.data, recipe.evaluate.data
    through = recipe.path(recipe.model.tokenizer) if recipe.model.tokenizer else folder
    request = request_of(model, through, longest)

    def open_data(data: str, default: str, column: str) -> Source:
        asked = replace(request, column=column if data else "")
        if kind := word_of(data):
            return kind.open(Path(data), [], asked)
        return open_source(recipe.path(data) if data else data_dir() / default, asked)

    split = bool(own) and (not apart or (apart == own and word_of(own) is not None))
    first = open_data(own, "docs.jsonl", recipe.calibration.column)
    judge = first if split else open_data(apart, "golden.jsonl", recipe.evaluate.column)
    wanted = recipe.calibration.samples
    start, stop = _share(first, wanted) if split else (0, _enough(judge))
    if (count := first.count(wanted)) < wanted:
        msg = f"{first.path}: holds {count} samples, [calibration] samples asks for {wanted}"
        raise DataError(msg)
    digests = {"calibration": digest(first, stop if split else wanted)}
    if not split:
        digests["evaluate"] = digest(judge, stop)
        if digests["evaluate"] == digests["calibration"] != {}:
            msg = f"{judge.path}: calibrates and judges at once; [evaluate] data must be other data"
            raise DataError(msg)
    named = zip((first, judge), digests.items(), strict=False)
    hashes = {f"{use}/{s.path.name}": d["sha256"] for s, (use, d) in named if d}
    if recipe.model.tokenizer:
        used = [source.through for source in (first, judge) if source.through is not None]
        hashes |= {f"tokenizer/{path.name}": files.sha256(path) for path in used}
    data = Dataset(
        Stretch(first, 0, wanted),
        _keep(judge, start, stop),
        _described(first, 0, wanted) | digests["calibration"],
        _described(judge, start, stop) | digests["calibration" if split else "evaluate"],
        hashes,
        texts=[] if judge.texts is None else list(islice(judge.texts(), start, stop)),
    )
    if not recipe.prune.cuts_units:
        return data
    if recipe.prune.data or not own:
        source = open_data(recipe.prune.data, "repair.jsonl", recipe.prune.column)
    else:
        source = skipping(first, start, stop) if split else first
    return _add_repair(data, source, recipe.prune.samples)


def _add_repair(data: Dataset, source: Source, wanted: int) -> Dataset:
    """Return the dataset with what a pruned model is fitted on: as many samples as there are."""
    count = source.count(wanted)
    told = digest(source, count)
    judge = data.judged
    if "sha256" in told and told["sha256"] == judge.get("sha256") != data.calibrated.get("sha256"):
        msg = f"{source.path}: repairs and judges at once; [prune] data must be other data"
        raise DataError(msg)
    hashes = dict(data.hashes)
    if "sha256" in told:
        hashes[f"prune/{source.path.name}"] = told["sha256"]
    described = _described(source, 0, count) | told
    return replace(data, repair=Stretch(source, 0, count), repaired=described, hashes=hashes)


def _share(source: Source, wanted: int) -> tuple[int, int]:
    """Return which samples judge where the first ones calibrate."""
    count = source.count(wanted + GOLDEN_SAMPLES)
    if count - wanted < FEWEST_GOLDEN:
        msg = (
            f"{source.path}: {count} samples, {wanted} to calibrate with leave"
            f" {max(count - wanted, 0)} to judge by; at least {FEWEST_GOLDEN} are needed: lower"
            " [calibration] samples or name [evaluate] data"
        )
        raise DataError(msg)
    return wanted, count


def _enough(source: Source) -> int:
    """Return how many samples judge where none of them calibrates."""
    count = source.count(GOLDEN_SAMPLES)
    if count < FEWEST_GOLDEN:
        msg = f"{source.path}: {count} samples to judge by; at least {FEWEST_GOLDEN} are needed"
        raise DataError(msg)
    return count


def _keep(source: Source, start: int, stop: int) -> list[Feed]:
    kept: list[Feed] = []
    size = 0
    for feed in source.feeds(start, stop):
        size += sum(array.nbytes for array in feed.values())
        if size > GOLDEN_BYTES:
            msg = (
                f"{source.path}: {len(kept) + 1} samples to judge by take more than"
                f" {GOLDEN_BYTES >> 30} GiB; name smaller ones as [evaluate] data"
            )
            raise DataError(msg)
        kept.append(feed)
    return kept


def _described(source: Source, start: int, stop: int) -> dict[str, Any]:
    """Return what the manifest says of samples; `first` counts from 1."""
    table: dict[str, Any] = {"data": source.path.name, "kind": source.kind}
    table |= {"samples": stop - start, "first": start + 1}
    return table | ({"warning": source.warning} if source.warning else {})
