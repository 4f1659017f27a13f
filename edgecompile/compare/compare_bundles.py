"""`edgecompile diff`: all that differs between two bundles, and what of it is for the worse."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from edgecompile.bundles.read_bundle import ReadBundle, artifact_hash
from edgecompile.bundles.run_golden import read_golden
from edgecompile.compare.change import BETTER, CHANGED, SAME, UNCLEAR, WORSE, Change
from edgecompile.compare.compare_accuracy import compare_answers, compare_recorded
from edgecompile.compare.compare_latency import compare_latency, time_both
from edgecompile.errors import BundleError, EdgeCompileError, MissingRuntimeError

SIZES = {
    "size": (0.01, "a file's size is exact"),
    "peak_memory": (0.05, "one run each: less than 5 % is taken for chance"),
    "energy": (0.05, "less than 5 % is taken for chance"),
}
"""Numbers of a profile: the share from which on they matter, and why it is that."""


def compare_bundles(
    old: ReadBundle, new: ReadBundle, *, run: bool = True, time: bool = False
) -> list[Change]:
    """Return every difference, and what is the same, section by section.

    `run` answers the golden inputs again with both artifacts, where their runtime is installed;
    `time` times them in turn.
    """
    return [
        *_origin(old, new),
        *_operators(old, new),
        *_sizes(old, new),
        *compare_recorded(old, new),
        *(_run(old, new, time=time) if run or time else ()),
        *compare_latency(old, new),
    ]


def _run(old: ReadBundle, new: ReadBundle, *, time: bool) -> Iterator[Change]:
    """Do what needs the runtime; without it, say so."""
    if artifact_hash(old) == artifact_hash(new):
        yield Change(
            "artifact", "the file", artifact_hash(old)[:12], artifact_hash(new)[:12], "", SAME
        )
        return
    golden = (read_golden(old), read_golden(new))
    try:
        yield from compare_answers(old, new, golden)
        if time:
            yield time_both(old, new, golden[1])
    except MissingRuntimeError as error:
        yield Change("accuracy", "golden samples run here", None, None, "", UNCLEAR, str(error))


def _operators(old: ReadBundle, new: ReadBundle) -> Iterator[Change]:
    """Count the operators, the formats of the Linears, and the graph forms."""
    if artifact_hash(old) == artifact_hash(new):
        return
    before, after = (_inspected(bundle) for bundle in (old, new))
    for label, was, now in (
        ("operator", before["operators"], after["operators"]),
        ("Linears:", _formats(before), _formats(after)),
    ):
        for name in dict.fromkeys([*was, *now]):
            counts = (was.get(name, 0), now.get(name, 0))
            verdict = SAME if counts[0] == counts[1] else CHANGED
            yield Change("artifact", f"{label} {name}", *counts, "", verdict)


def _inspected(bundle: ReadBundle) -> Mapping[str, Any]:
    from edgecompile.inspect_file import inspect_file

    try:
        return inspect_file(bundle.artifact)
    except EdgeCompileError:
        raise
    except Exception as error:  # a file that was sealed and is no model
        msg = f"{bundle.artifact}: not a readable model ({error})"
        raise BundleError(msg) from error


def _formats(found: Mapping[str, Any]) -> Mapping[str, int]:
    return Counter(str(row["format"]) for row in found["linears"])


def _sizes(old: ReadBundle, new: ReadBundle) -> Iterator[Change]:
    for name, (share, known) in SIZES.items():
        before, after = (_number(bundle, name) for bundle in (old, new))
        if before is None or after is None:
            continue
        was, now = before["value"], after["value"]
        verdict = WORSE if now > was * (1 + share) else BETTER if now < was * (1 - share) else SAME
        why = known
        if before["kind"] != after["kind"]:
            verdict, why = UNCLEAR, f"{before['kind']} before"
        label = name.replace("_", " ")
        yield Change("size", label, was, now, after["unit"], verdict, f"{after['kind']}; {why}")


def _number(bundle: ReadBundle, name: str) -> Mapping[str, Any] | None:
    rows = bundle.profile["numbers"]
    found = (r for r in rows if r["name"] == name and r.get("model") == "artifact")
    return next((row for row in found if row["value"] is not None), None)


def _origin(old: ReadBundle, new: ReadBundle) -> Iterator[Change]:
    """Compare what went in: toolchain, recipe, inputs' hashes."""
    sections = {"toolchain": _toolchain, "recipe": _recipe, "inputs": _inputs}
    for section, table_of in sections.items():
        was, now = table_of(old), table_of(new)
        for name in dict.fromkeys([*was, *now]):
            pair = (was.get(name), now.get(name))
            yield Change(section, name, *pair, "", SAME if pair[0] == pair[1] else CHANGED)


def _toolchain(bundle: ReadBundle) -> dict[str, str]:
    keys = ("edgecompile", "built_with", "runtime", "engine", "target", "route")
    table = {key: str(bundle.manifest.get(key)) for key in keys}
    host = bundle.profile.get("host")
    if isinstance(host, dict):
        table |= {f"host {key}": str(host.get(key)) for key in ("cpu", "runtime", "governor")}
    forms = bundle.manifest.get("forms")
    rows = [row for row in forms if isinstance(row, dict)] if isinstance(forms, list) else []
    return table | {f"form of {row.get('kind')}": str(row.get("form")) for row in rows}


def _inputs(bundle: ReadBundle) -> dict[str, str]:
    table = {name: str(value)[:12] for name, value in bundle.manifest["inputs"].items()}
    for use in ("calibration", "evaluation"):
        data = bundle.manifest.get(use)
        if isinstance(data, dict):
            table[use] = f"{data.get('data')} {str(data.get('sha256', ''))[:12]}".strip()
    return table


def _recipe(bundle: ReadBundle) -> dict[str, str]:
    return _flat(bundle.manifest["recipe"], "")


def _flat(table: Mapping[str, Any], before: str) -> dict[str, str]:
    """Return a recipe's keys as "table.key"; what is not set is left out."""
    found: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.")
        elif value is not None:
            found[f"{before}{key}"] = str(value)
    return found
