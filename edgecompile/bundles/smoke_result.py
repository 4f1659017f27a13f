"""What a bundle's smoke.py said, wherever it ran: on this host, a board or an emulated CPU."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.errors import EdgeCompileError, GateError, SmokeError

if TYPE_CHECKING:
    from edgecompile.evaluate.accuracy import Accuracy
    from edgecompile.profile.profile_host import Number

FAIL = "FAIL"
"""How the line begins that says why smoke.py ended with 1."""
HOW = "smoke.py: the longest golden sample, batch 1, nothing else in the process"


def failure(where: str, out: str, err: str) -> EdgeCompileError:
    """Return the error of a smoke.py that did not end with 0.

    Answers that are wrong are the gate's; else something is missing there, or the bundle is broken.
    """
    lines = [line.strip() for line in out.splitlines() if line.startswith(FAIL)]
    if not lines:
        said = [line.strip() for line in err.splitlines() if line.strip()]
        what = said[-1][:300] if said else "it said nothing"
        return SmokeError(f"{where}: smoke.py ended without a verdict: {what}")
    what = lines[-1].removeprefix(FAIL).strip()
    wrong = what.startswith("accuracy:") or "does not load the artifact" in what
    return GateError(f"{where}: {what}") if wrong else SmokeError(f"{where}: {what}")


def read_result(path: Path, where: str) -> Mapping[str, Any]:
    """Read the result that smoke.py wrote; it may come from another machine."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        accuracy_of(result), latency_numbers(result)
        str(result["cpu"]), str(result["isa"]), str(result["runtime"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{where}: smoke.py left no result that can be read: {error}"
        raise SmokeError(msg) from error
    return dict(result)


def accuracy_of(result: Mapping[str, Any]) -> "Accuracy":
    """Return how near the answers were to the float model's."""
    from edgecompile.evaluate.accuracy import Accuracy

    row = result["accuracy"]
    mean, worst, signal = (float(row[key]) for key in ("mean", "min", "signal"))
    return Accuracy(str(row["metric"]), mean, worst, int(row["samples"]), signal)


def latency_numbers(result: Mapping[str, Any]) -> "list[Number]":
    """Return the measured latencies as profile.json keeps them; none of an emulator."""
    return [
        {
            "name": f"latency_{quantile}",
            "value": float(row[f"{quantile}_ms"]),
            "unit": "ms",
            "kind": "measured",
            "how": HOW,
            "model": "artifact",
            "sequence": sequence_of(row["shape"]),
            "threads": int(row["threads"]),
        }
        for row in result["latency"]
        for quantile in ("p50", "p90")
    ]


def sequence_of(shape: Mapping[str, Sequence[int]]) -> int:
    """Return the tokens of a feed: its first input is [1, tokens]; 1 where it is no text."""
    first = next(iter(shape.values()))
    return int(first[1]) if len(first) == 2 else 1
