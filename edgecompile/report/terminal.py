"""Tables for the terminal; each is made from plain data, so that --json shows the same."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]

ONE = {"images": "an image", "audio": "a clip"}
"""What one inference takes, where it is no row of tokens; by the kind of data."""
METRICS = {
    "cosine": "mean cosine",
    "agreement": "agreement of argmax",
    "next-token": "agreement of the next token",
    "signal": "R²",
}


def summary(manifest: Row, profile: Row) -> dict[str, Any]:
    """Return the figures of one bundle that people ask for first."""
    timed = list(_of(profile, "latency_p50", "artifact"))
    longest = max((n["sequence"] for n in timed), default=None)
    phase = next((n.get("phase", "") for n in timed if n["sequence"] == longest), "")
    where = {"sequence": longest, "threads": 1}
    latency = {
        model: _value(profile, "latency_p50", model, **where)
        for model in ("float", "dynamic_int8", "artifact")
    }
    data = manifest.get("calibration", {})
    missing = next(iter(_of(profile, "latency_p50", "artifact")), {"how": "not measured"})
    return {
        "target": manifest["target"],
        "part": manifest.get("part", ""),
        "size_bytes": int(_value(profile, "size", "artifact") or 0),
        "float_bytes": int(_value(profile, "size", "float") or 0),
        "raised": _raised(manifest["quantization"]),
        "metric": manifest["accuracy"]["metric"],
        "mean": manifest["accuracy"]["mean"],
        "min": manifest["accuracy"]["min"],
        "emulated": _emulated(manifest.get("accuracy_emulated", {})),
        "sequence": longest,
        "latency_ms": latency,
        "not_timed": missing["how"] if latency["artifact"] is None else None,
        "npu": _npu(profile),
        "when": (profile.get("host") or {}).get("when", ""),
        "no_dynamic": profile.get("dynamic_int8_failed"),
        "one": _one(phase, data.get("kind", ""), longest),
        "warning": data.get("warning"),
        "engines": manifest.get("engines", []),
    }


def _at(when: str) -> str:
    """Return a time to the minute: what comes from the cache was measured before."""
    return f" at {when[:16].replace('T', ' ')} UTC" if when else ""


def _npu(profile: Row) -> str:
    """Return what an NPU takes of the work, and the time that its compiler expects."""
    shares = [n for n in profile["numbers"] if n["name"].startswith("npu_share")]
    if not shares:
        return ""
    told = f"{min(n['value'] for n in shares):.0%} on the NPU ({shares[0]['how']})"
    times = [n for n in _of(profile, "latency", "artifact") if n["kind"] == "modelled"]
    for row in times:
        told += f"; {row['value']:.1f} ms for {row['sequence']} tokens, modelled by {row['how']}"
    return told


def _emulated(accuracy: Row) -> dict[str, Any] | None:
    """Return what the same samples gave here and on an emulated CPU, None if they were not run."""
    if "mean" not in accuracy:
        return None
    said = {key: accuracy[key] for key in ("mean", "samples")}
    return said | {"here": accuracy["here"]["mean"], "on": accuracy.get("on", "without VNNI")}


def _raised(quantization: Row) -> dict[str, int]:
    """Count the Linears that the precision ladder raised, by rung."""
    if "ladder" not in quantization:
        return {}
    rungs = [row["rung"] for row in quantization["linears"].values()]
    lowest = quantization.get("lowest", "int8")
    kinds = (lowest, *(rung for rung in ("dynamic", "float") if rung in rungs))
    return {rung: rungs.count(rung) for rung in kinds}


def build_table(rows: Sequence[Row]) -> "Table":
    """Return one line a bundle: size, accuracy, latency against float and dynamic int8."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.ROUNDED, caption=_caption(rows), caption_justify="left")
    table.add_column("target", no_wrap=True)
    for name in ("size", "of float", "accuracy", "worst", "float", "dynamic", "artifact"):
        table.add_column(name, justify="right")
    for row in rows:
        times = row["latency_ms"]
        _add(
            table,
            _label(row),
            f"{row['size_bytes'] / 1e6:.1f} MB",
            f"{row['size_bytes'] / row['float_bytes']:.0%}",
            f"{row['mean']:.4f}",
            f"{row['min']:.4f}",
            *(_ms(times[model]) for model in ("float", "dynamic_int8", "artifact")),
        )
    return table


def engines_table(row: Row) -> "Table":
    """Return one line an engine: time and accuracy of its artifact, kept or why not."""
    from rich import box
    from rich.table import Table

    timed = next(engine for engine in row["engines"] if engine["kept"])
    caption = (
        f"median of one inference of {timed['sequence']} tokens, {timed['threads']} thread, all"
        " engines in turn, measured here"
    )
    table = Table(box=box.ROUNDED, caption=caption, caption_justify="left")
    table.add_column("engine")
    for name in ("time", "accuracy", "worst"):
        table.add_column(name, justify="right")
    table.add_column("kept, or why not", overflow="fold")
    for engine in row["engines"]:
        scores = ("-", "-")
        if engine["ms"] is not None:
            scores = (f"{engine['mean']:.4f}", f"{engine['min']:.4f}")
        why = f"kept: {engine['why']}" if engine["kept"] else engine["why"]
        _add(table, engine["engine"], _ms(engine["ms"]), *scores, why)
    return table


def _caption(rows: Sequence[Row]) -> str:
    lines = [
        f"warning: {_label(row)} is slower than {model} here"
        for row in rows
        for model in ("float", "dynamic_int8")
        if is_slower(row, model)
    ]
    for row in rows:
        if row["raised"]:
            lowest = next(iter(row["raised"]))
            counts = ", ".join(f"{count} {rung}" for rung, count in row["raised"].items())
            lines.append(f"{_label(row)}: {lowest} alone missed the gate; Linears now: {counts}")
        if row["emulated"]:
            there, here = (f"{row['emulated'][key]:.4f}" for key in ("mean", "here"))
            samples = f"{row['emulated']['samples']} samples"
            there += f" {row['emulated']['on']}, emulated"
            lines.append(f"{_label(row)}: {there}; here {here}; {samples}")
        if row["not_timed"]:
            lines.append(f"{_label(row)} was not timed: {row['not_timed']}")
        else:
            lines.append(
                f"{_label(row)}: {METRICS[row['metric']]} to float; median of one inference of"
                f" {row['one']}, 1 thread, measured here{_at(row['when'])}"
            )
        if row["npu"]:
            lines.append(f"{_label(row)}: {row['npu']}")
        if row["no_dynamic"]:
            lines.append(f"{_label(row)}: no dynamic int8 to compare with: {row['no_dynamic']}")
    lines += dict.fromkeys(f"warning: {row['warning']}" for row in rows if row["warning"])
    return "\n".join(lines)


def _one(phase: str, kind: str, sequence: int | None) -> str:
    """Return what one inference takes."""
    if phase == "decode":
        return f"a token after {sequence} in the cache"
    return f"{sequence} tokens" if phase else ONE.get(kind, f"{sequence} tokens")


def _label(row: Row) -> str:
    """Return the target, and which part of the model is meant."""
    return f"{row['target']} {row['part']}" if row["part"] else str(row["target"])


def is_slower(row: Row, model: str) -> bool:
    """Say whether an artifact takes longer than another model that it was timed with."""
    ours, theirs = row["latency_ms"]["artifact"], row["latency_ms"][model]
    return ours is not None and theirs is not None and ours > theirs


def targets_table(rows: Iterable[Row]) -> "Table":
    """Return one line a target."""
    from rich.table import Table

    table = Table()
    for name in ("target", "engines", "ISA", "what it is"):
        table.add_column(name)
    for row in rows:
        _add(table, row["name"], ", ".join(row["engines"]), row["isa"], row["description"])
    return table


def plan_table(rows: Iterable[Row]) -> "Table":
    """Return one line a step: what it needs and gives."""
    from rich.table import Table

    table = Table(show_lines=True)
    for name in ("#", "stage", "step", "does", "needs", "gives"):
        table.add_column(name)
    for number, row in enumerate(rows, 1):
        needs, gives = ("\n".join(row[key]) for key in ("needs", "gives"))
        _add(table, str(number), row["stage"], row["step"], row["does"], needs, gives)
    return table


def inspect_tables(found: Row) -> "list[Table]":
    """Return the tables of `inspect`: widths, formats, operators, embeddings, Linears."""
    from rich.table import Table

    from edgecompile.report.widths import table_of

    formats = Table(title="weights", title_justify="left")
    formats.add_column("format")
    formats.add_column("bytes", justify="right")
    for name, size in found["bytes_by_format"].items():
        _add(formats, name, f"{size:,}")
    operators = Table(title="operators", title_justify="left")
    operators.add_column("operator")
    operators.add_column("count", justify="right")
    for name, count in found["operators"].items():
        _add(operators, name, str(count))
    embeddings = Table(title="embeddings", title_justify="left")
    for name in ("table", "rows x width", "format"):
        embeddings.add_column(name)
    for row in found["embeddings"]:
        _add(embeddings, row["name"], " x ".join(map(str, row["shape"])), row["format"])
    layers = Table(title="Linears", title_justify="left")
    for name in ("layer", "in x out", "format", "why"):
        layers.add_column(name)
    for row in found["linears"]:
        _add(layers, row["name"], " x ".join(map(str, row["shape"])), row["format"], row["why"])
    widths = Table(title="widths, of the dense model's", title_justify="left")
    for name in ("layer", "heads", "FFN channels"):
        widths.add_column(name)
    for cells in table_of(found.get("widths", {})):
        _add(widths, *cells)
    shown = [widths] * bool(found.get("widths")) + [formats, operators]
    return [*shown, *([embeddings] if found["embeddings"] else []), layers]


def sensitivity_table(rows: Iterable[Row]) -> "Table":
    """Return one line a tensor, the one that loses most first."""
    from rich.table import Table

    how = "lost: 1 - R² of the model's output when these alone are int8, on calibration samples;"
    table = Table(caption=f"{how} ms: a sequence of 128, 1 thread; both measured here")
    table.add_column("Linears")
    for name in ("lost in int8", "in dynamic", "int8", "float"):
        table.add_column(name, justify="right")
    for row in rows:
        lost, ms = row["lost_r2"], row["ms"]
        cells = [f"{lost[r]:.1e}" if r in lost else "-" for r in ("int8", "dynamic")]
        cells += [f"{ms[r]:.2f} ms" if r in ms else "-" for r in ("int8", "float")]
        _add(table, "\n".join(row["linears"]), *cells)
    return table


def _add(table: "Table", *cells: str) -> None:
    """Add a row as it is: names may look like rich's markup."""
    from rich.markup import escape

    table.add_row(*(escape(cell) for cell in cells))


def _of(profile: Row, name: str, model: str) -> list[Row]:
    numbers = profile["numbers"]
    found = [n for n in numbers if n["name"] == name and n["model"] == model]
    return [{"sequence": None, **n} for n in found if n["value"] is not None] or [
        {"sequence": 0, **n} for n in found
    ]


def _value(profile: Row, name: str, model: str, **where: object) -> float | None:
    for number in profile["numbers"]:
        same = number["name"] == name and number["model"] == model
        if same and all(number.get(key) == value for key, value in where.items()):
            return float(number["value"]) if number["value"] is not None else None
    return None


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
