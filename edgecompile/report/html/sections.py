"""A bundle's manifest, profile and samples -> the plain data that the page shows."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.report import counts
from edgecompile.report.html import verdicts as judge
from edgecompile.report.html.figures.latency import draw_latency
from edgecompile.report.html.figures.operators import draw_operators
from edgecompile.report.html.figures.scatter import draw_scatter
from edgecompile.report.html.figures.sensitivity import draw_sensitivity
from edgecompile.report.html.figures.size import draw_size
from edgecompile.report.html.figures.spent import draw_spent
from edgecompile.report.html.figures.trade_off import draw_trade_off
from edgecompile.report.html.rows import Row, is_here, rows_of, timed_case
from edgecompile.report.html.spent import spent_tables
from edgecompile.report.html.theme import LABELS, MODELS, style, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOP_LAYERS = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows of a bundle: its name, its three files, and verdicts on its budget."""

    name: str
    manifest: Mapping[str, Any]
    profile: Mapping[str, Any]
    samples: Mapping[str, Any] = field(default_factory=dict)
    budget: Sequence[judge.Verdict] = ()


def section(bundle: Shown, key: str) -> dict[str, Any]:
    """Return the data of one bundle's section; `key` keeps its ids apart from the others'."""
    manifest, profile = bundle.manifest, bundle.profile
    found = [*bundle.budget, *judge.verdicts(manifest, profile)]
    state, sentence = judge.headline(found)
    sensitivity = _sensitivity(manifest["quantization"])
    operators = profile.get("operator_times", {})
    weights = profile.get("weights", [])
    charts = _Charts(key)
    return {
        "key": key,
        "name": bundle.name,
        "model": manifest["model"],
        "target": manifest["target"],
        "artifact": manifest["artifact"],
        "runs_on": f"{manifest['engine']} {manifest['runtime']}",
        "state": state,
        "headline": sentence,
        "verdicts": found,
        "warnings": _warnings(manifest, profile),
        "models": _models(profile),
        "cpu": judge.cpu_of(profile),
        "samples": bundle.samples,
        "scatter": charts.draw(
            "scatter",
            "float's answers against this bundle's; on the diagonal they are the same",
            lambda: draw_scatter(bundle.samples["scatter"]) if bundle.samples else None,
        ),
        "rungs": _rungs(manifest["quantization"]),
        "raised": _raised(manifest["quantization"]),
        "sensitivity": sensitivity,
        "sensitivity_chart": charts.draw(
            "sensitivity",
            "what each layer loses in int8 alone, the worst first",
            lambda: draw_sensitivity(sensitivity),
        ),
        "latency": _latency_charts(profile, charts),
        "latencies": _latency_table(profile),
        "counted": list(counts.rows_of(profile["numbers"])),
        "counted_how": _how_counted(profile),
        "size_chart": charts.draw("size", "bytes by layer and format", lambda: draw_size(weights)),
        "formats": list(rows_of(profile, "weight_bytes", model="artifact")),
        "weights": weights[:TOP_LAYERS],
        "operators": operators,
        "layers": _layers(operators.get("rows", [])),
        "operators_chart": charts.draw(
            "operators",
            "milliseconds by kind of layer, before and after",
            lambda: draw_operators(operators.get("rows", [])),
        ),
        "curve": charts.draw(
            "trade-off",
            "what a pruning loses at each size",
            lambda: _curve(manifest.get("pruning", {})),
        ),
        "spent": _spent(profile, charts),
        "facts": _facts(manifest, profile),
        "files": manifest["files"],
        "inputs": manifest.get("inputs", {}),
        "steps": manifest.get("steps", []),
        "recipe": json.dumps(manifest["recipe"], indent=2, ensure_ascii=False),
        "numbers": profile["numbers"],
    }


@dataclass(frozen=True, slots=True)
class _Charts:
    """Draws the charts of one section."""

    key: str

    def draw(self, name: str, description: str, draw: "Callable[[], Figure | None]") -> str:
        """Return the SVG, empty where there is nothing to show."""
        with style():
            figure = draw()
        return "" if figure is None else to_svg(figure, f"{self.key}-{name}", description)


def _how_counted(profile: Row) -> list[str]:
    """Return how instructions were counted and times modelled, and what could not be."""
    rows = [row for row in profile["numbers"] if row["name"] in ("instructions", "latency")]
    return list(dict.fromkeys(str(row["how"]) for row in rows))


def _warnings(manifest: Mapping[str, Any], profile: Row) -> list[str]:
    data = (manifest.get("calibration", {}), manifest.get("evaluation", {}))
    told = [*profile.get("warnings", []), *(table.get("warning", "") for table in data)]
    if failed := profile.get("dynamic_int8_failed"):
        told.append(f"no dynamic int8 to compare with: {failed}")
    return [line for line in dict.fromkeys(map(str, told)) if line]


def _models(profile: Row) -> list[dict[str, Any]]:
    """Return one row a model: size, latency, memory, load time, work."""
    case = timed_case(profile)
    wanted = {
        "size": {},
        "latency": case,
        "memory": {},
        "load": {"threads": 1},
        "macs": {k: v for k, v in case.items() if k != "threads" and v is not None},
    }
    names = {"latency": "latency_p50", "memory": "peak_memory"}
    rows = []
    for model, label in LABELS.items():
        cells = {
            key: next(
                (r for r in rows_of(profile, names.get(key, key), model=model, **w) if is_here(r)),
                None,
            )
            for key, w in wanted.items()
        }
        if any(cells.values()):
            rows.append({"model": model, "label": label, **cells})
    return rows


def _rungs(quantization: Mapping[str, Any]) -> dict[str, int]:
    """Count the Linears by rung."""
    rungs = [str(row["rung"]) for row in quantization.get("linears", {}).values()]
    return {rung: rungs.count(rung) for rung in dict.fromkeys(rungs)}


def _raised(quantization: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the Linears that are not on the lowest rung: name, rung, and why."""
    lowest = quantization.get("lowest", "int8")
    return [
        (name, str(row["rung"]), str(row.get("why", "")))
        for name, row in quantization.get("linears", {}).items()
        if row["rung"] != lowest
    ]


def _sensitivity(quantization: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each tensor's Linears lose on the lowest rung, where the ladder measured it."""
    rungs = {name: str(row["rung"]) for name, row in quantization.get("linears", {}).items()}
    lowest = quantization.get("lowest", "int8")
    rows = []
    for row in quantization.get("ladder", {}).get("tensors", []):
        names = [str(name) for name in row["linears"]]
        if lowest in row["lost_r2"]:
            rung = next((rungs[name] for name in names if name in rungs), lowest)
            lost = float(row["lost_r2"][lowest])
            rows.append({"layer": ", ".join(names), "lost": lost, "rung": rung, "ms": row["ms"]})
    return sorted(rows, key=lambda row: -row["lost"])


def _cases(profile: Row) -> list[tuple[int, str]]:
    timed = [row for row in rows_of(profile, "latency_p50", model="artifact") if is_here(row)]
    return sorted({(row.get("threads", 1), row.get("phase", "")) for row in timed})


def _latency_charts(profile: Row, charts: _Charts) -> list[tuple[str, str]]:
    found = []
    for threads, phase in _cases(profile):
        title = ", ".join(filter(None, [f"{threads} thread{'s' * (threads != 1)}", phase]))
        svg = charts.draw(
            f"latency-{threads}-{phase}",
            f"median latency by sequence length, {title}",
            lambda threads=threads, phase=phase: draw_latency(profile, threads, phase),  # type: ignore[misc]
        )
        found.append((title, svg))
    return found


def _latency_table(profile: Row) -> list[dict[str, Any]]:
    """Return one row a case and model, with its quantiles."""
    cases: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in profile["numbers"]:
        if row["name"].startswith("latency_p") and row["value"] is not None:
            key = tuple(row.get(k, "") for k in ("where", "threads", "phase", "sequence", "model"))
            named = zip(("where", "threads", "phase", "sequence", "model"), key, strict=True)
            cases.setdefault(key, dict(named) | {"kind": row["kind"]})[row["name"]] = row
    return list(cases.values())


def _layers(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the layers that take most in either model, with the time of both and bars' lengths."""
    sums: dict[str, dict[str, float]] = {}
    for row in rows:
        layer = sums.setdefault(str(row["layer"]) or "others", dict.fromkeys(MODELS, 0.0))
        layer[str(row["model"])] = layer.get(str(row["model"]), 0.0) + float(row["value"])
    order = sorted(sums, key=lambda layer: -max(sums[layer].values()))[:TOP_LAYERS]
    longest = max((max(sums[layer].values()) for layer in order), default=0.0) or 1.0
    return [
        {
            "layer": layer,
            "float": sums[layer]["float"],
            "artifact": sums[layer]["artifact"],
            "float_share": sums[layer]["float"] / longest,
            "artifact_share": sums[layer]["artifact"] / longest,
        }
        for layer in order
    ]


def _curve(pruning: Mapping[str, Any]) -> "Figure | None":
    return draw_trade_off(pruning["curve"]) if pruning.get("curve") else None


def _spent(profile: Row, charts: _Charts) -> list[dict[str, Any]]:
    return [
        table
        | {
            "chart": charts.draw(
                f"spent-{number}",
                table["title"],
                lambda table=table: draw_spent(table["rows"], table["unit"]),  # type: ignore[misc]
            )
            if table["first"]
            else ""
        }
        for number, table in enumerate(spent_tables(profile))
    ]


def _facts(manifest: Mapping[str, Any], profile: Row) -> list[tuple[str, str]]:
    """Return where the bundle comes from."""
    host = profile.get("host") or {}
    rows: list[tuple[str, Any]] = [
        ("model", manifest["model"]),
        ("part", manifest.get("part", "")),
        ("exported by", manifest.get("route", "")),
        ("target", manifest["target"]),
        ("artifact", manifest["artifact"]),
        ("built by", f"edgecompile {manifest['edgecompile']}, {manifest['built_with']}"),
        ("runs on", f"{manifest['engine']} {manifest['runtime']}"),
        ("calibrated on", _data(manifest.get("calibration", {}))),
        ("judged on", _data(manifest.get("evaluation", {}))),
        ("timed on", ", ".join(str(host[k]) for k in ("cpu", "isa") if host.get(k))),
        ("its runtimes", host.get("runtime", "")),
        ("its governor", host.get("governor", "")),
        ("when", host.get("when", "")),
    ]
    return [(name, str(value)) for name, value in rows if value]


def _data(table: Mapping[str, Any]) -> str:
    if "data" not in table:
        return ""
    hashed = f", SHA-256 {table['sha256']}" if "sha256" in table else ""
    return f"{table['samples']} samples of {table['data']} ({table['kind']}){hashed}"


def read_samples(folder: Path) -> dict[str, Any]:
    """Return a bundle's samples.json, whose hash is checked; empty where there is none."""
    path = folder / "samples.json"
    if not path.is_file():
        return {}
    samples: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return samples
