"""A bundle's golden vectors: read back, and answered again by its artifact."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from edgecompile.bundles.read_bundle import ReadBundle
from edgecompile.errors import BundleError, MissingRuntimeError
from edgecompile.plugins import engine_names

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

    Answers = Sequence[Sequence[FloatArray]]

MOST_BYTES = 1 << 30
"""Of the arrays, unpacked; a build writes 16 MB, or four samples."""
DRIFT = {"cosine": 0.005, "agreement": 0.07, "next-token": 0.07, "signal": 0.05}
"""How far another machine's score may lie below the build's: as in smoke.py."""


@dataclass(frozen=True, slots=True)
class Golden:
    """Feeds, and the float model's answers to each, one array an output."""

    outputs: Sequence[str]
    feeds: "Sequence[Feed]"
    expected: "Answers"


def read_golden(bundle: ReadBundle) -> Golden:
    """Read arrays named NNN/in/NAME and NNN/out/NAME; nothing pickled."""
    path = bundle.folder / bundle.manifest["golden"]["file"]
    samples: dict[str, dict[str, dict[str, np.ndarray[Any, Any]]]] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                _refuse(bundle, f"unpacks to more than {MOST_BYTES >> 20} MB")
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                number, side, name = key.split("/", 2)
                samples.setdefault(number, {"in": {}, "out": {}})[side][name] = arrays[key]
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, EOFError) as error:
        _refuse(bundle, f"is not readable ({error})")
    ordered = [samples[number] for number in sorted(samples)]
    names = [list(sample["out"]) for sample in ordered]
    if not names or not names[0] or any(other != names[0] for other in names):
        _refuse(bundle, "does not hold the same outputs of every sample")
    feeds = [sample["in"] for sample in ordered]
    return Golden(names[0], feeds, [list(sample["out"].values()) for sample in ordered])


def answer(bundle: ReadBundle, golden: Golden) -> "Answers":
    """Run a bundle's artifact on golden feeds; MissingRuntimeError where its engine is not here."""
    run = open_artifact(bundle)
    try:
        return [run(feed) for feed in golden.feeds]
    except Exception as error:  # each runtime raises its own
        _refuse_artifact(bundle, error)


def open_artifact(bundle: ReadBundle, threads: int = 0) -> Any:
    """Return a function from a feed to the artifact's answers; 0 threads = all."""
    from edgecompile import engines

    name = str(bundle.manifest["engine"])
    if name not in engine_names():
        fault = "is an engine that this edgecompile does not know"
        raise MissingRuntimeError(name, fault, "edgecompile --upgrade")
    engine = engines.engine(name)
    engine.runtime_version()  # says so where the runtime is not installed
    try:
        return engine.runner(bundle.artifact, threads)
    except Exception as error:
        _refuse_artifact(bundle, error)


def scores(bundle: ReadBundle, golden: Golden, answers: "Answers") -> "FloatArray":
    """Return how near each sample's answer is to the float model's, [samples], 1 the same.

    Of models judged by R^2 ("signal") it is each sample's part in it: their mean is the whole.
    """
    from edgecompile.evaluate.accuracy import compare

    metric = str(bundle.manifest["accuracy"]["metric"])
    if metric not in DRIFT:
        _refuse(bundle, f"is judged by '{metric}', which this edgecompile does not know")
    if metric == "signal":
        return _parts_of_signal(answers, golden.expected)
    rows = zip(answers, golden.expected, golden.feeds, strict=True)
    found = [compare(metric, [a], [b], [feed], golden.outputs).mean for a, b, feed in rows]
    return np.asarray(found, np.float64)


def _parts_of_signal(answers: "Answers", expected: "Answers") -> "FloatArray":
    """1 - n ||a_i - b_i||^2 / sum_j ||b_j - mean(b)||^2 of the first output."""
    a, b = (np.concatenate([np.ravel(row[0]) for row in side]) for side in (answers, expected))
    lost = np.square(a.astype(np.float64) - b)
    whole = np.square(b - b.mean()).sum() or np.square(b).sum() or 1.0
    parts = np.array_split(lost, np.cumsum([np.size(row[0]) for row in expected])[:-1])
    return np.asarray([1 - len(parts) * part.sum() / whole for part in parts], np.float64)


def same_inputs(one: Golden, other: Golden) -> bool:
    """Say whether two bundles ask the same questions."""
    pairs = zip(one.feeds, other.feeds, strict=False)
    equal = len(one.feeds) == len(other.feeds) and one.outputs == other.outputs
    return equal and all(_same(a, b) for a, b in pairs)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def _refuse(bundle: ReadBundle, fault: str) -> NoReturn:
    path = bundle.folder / str(bundle.manifest["golden"]["file"])
    msg = f"{path}: {fault}; build the bundle again"
    raise BundleError(msg)


def _refuse_artifact(bundle: ReadBundle, error: Exception) -> NoReturn:
    what = str(error).splitlines()[0] if str(error) else type(error).__name__
    msg = f"{bundle.artifact}: {bundle.manifest['engine']} does not run it: {what}"
    raise BundleError(msg) from error
