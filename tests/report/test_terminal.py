"""The tables of the terminal: they show what was measured, and say what was not."""

import io
from typing import Any

from rich.console import Console

from edgecompile.report import terminal

MANIFEST = {
    "target": "board",
    "accuracy": {"metric": "cosine", "mean": 0.998, "min": 0.99},
    "quantization": {"linears": {}},
}


def number(name: str, model: str, value: float | None, **where: Any) -> dict[str, Any]:
    """Return one number of a profile."""
    return {"name": name, "model": model, "value": value, "how": "a reason", **where}


def profile(ours: float | None) -> dict[str, Any]:
    """Return a profile with one latency a model."""
    times = {"float": 40.0, "dynamic_int8": 30.0, "artifact": ours}
    sizes = [number("size", "artifact", 23e6), number("size", "float", 90e6)]
    where = {"sequence": 128, "threads": 1}
    return {"numbers": sizes + [number("latency_p50", m, v, **where) for m, v in times.items()]}


def shown(row: dict[str, Any]) -> str:
    """Return what a person sees."""
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal.build_table([row]))
    return console.export_text()


def test_a_bundle_is_summed_up() -> None:
    """Size, share, accuracy and the three times of the longest sequence on one thread."""
    text = shown(terminal.summary(MANIFEST, profile(20.0)))
    for part in ("23.0 MB", "26%", "0.9980", "0.9900", "40.0 ms", "30.0 ms", "20.0 ms", "128"):
        assert part in text
    assert "warning" not in text


def test_a_slower_artifact_is_not_kept_quiet() -> None:
    """Slower than float or than dynamic int8: the table says so."""
    text = shown(terminal.summary(MANIFEST, profile(35.0)))
    assert "warning: board is slower than dynamic_int8 here" in text
    assert "slower than float" not in text


def test_random_data_is_not_kept_quiet() -> None:
    """What random data warns of stands below the table too."""
    manifest = {**MANIFEST, "calibration": {"kind": "random", "warning": "not real"}}
    assert "warning: not real" in shown(terminal.summary(manifest, profile(20.0)))


def test_an_image_has_no_tokens() -> None:
    """What one inference takes is told in the words of its kind."""
    manifest = {**MANIFEST, "calibration": {"kind": "images"}}
    text = shown(terminal.summary(manifest, profile(20.0)))
    assert "one inference of an image" in text
    assert "tokens" not in text


def test_what_was_not_timed_has_its_reason() -> None:
    """No number is made up for a board that this host cannot imitate."""
    row = terminal.summary(MANIFEST, {"numbers": [
        number("size", "artifact", 23e6), number("size", "float", 90e6),
        number("latency_p50", "artifact", None),
    ]})  # fmt: skip
    assert row["latency_ms"] == {"float": None, "dynamic_int8": None, "artifact": None}
    assert "board was not timed: a reason" in shown(row)


def test_an_emulated_accuracy_is_told_apart() -> None:
    """It stands below the table with what this host gave for the same samples; nothing if none."""
    found = {"mean": 0.9967, "samples": 8, "here": {"mean": 0.9984}, "kind": "emulated"}
    row = terminal.summary(MANIFEST | {"accuracy_emulated": found}, profile(20.0))
    assert "board: 0.9967 without VNNI, emulated; here 0.9984; 8 samples" in shown(row)
    skipped = MANIFEST | {"accuracy_emulated": {"skipped": "a reason"}}
    assert "emulated" not in shown(terminal.summary(skipped, profile(20.0)))


def test_a_missing_peer_has_its_reason() -> None:
    """Where dynamic int8 could not be made, or was not tried, the table says why."""
    row = terminal.summary(MANIFEST, profile(20.0) | {"dynamic_int8_failed": "not tried: big"})
    assert "board: no dynamic int8 to compare with: not tried: big" in shown(row)
    assert "no dynamic" not in shown(terminal.summary(MANIFEST, profile(20.0)))


def test_raised_layers_are_said_aloud() -> None:
    """An artifact that needed more than int8 says how much of it is int8."""
    rungs = {str(n): {"rung": rung} for n, rung in enumerate(["int8", "float", "int8", "dynamic"])}
    raised = MANIFEST | {"quantization": {"linears": rungs, "ladder": {}}}
    text = shown(terminal.summary(raised, profile(20.0)))
    assert "board: int8 alone missed the gate; Linears now: 2 int8, 1 dynamic, 1 float" in text
    text = shown(terminal.summary(raised | {"part": "decoder"}, profile(20.0)))
    assert "board decoder: int8 alone missed the gate" in text


def test_a_regression_has_its_own_words() -> None:
    """A single output number has no cosine."""
    manifest = MANIFEST | {"accuracy": {"metric": "signal", "mean": 0.99, "min": 0.99}}
    assert "board: R² to float" in shown(terminal.summary(manifest, profile(20.0)))


def test_sensitivity_shows_layers_losses_and_times() -> None:
    """A rung that was not tried is a dash."""
    row = {"linears": ["q", "k"], "lost_r2": {"int8": 0.01}, "ms": {"int8": 1.0, "float": 2.0}}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(terminal.sensitivity_table([row]))
    text = console.export_text()
    for part in ("q", "k", "1.0e-02", "-", "1.00 ms", "2.00 ms"):
        assert part in text


def test_a_step_of_a_decoder_is_called_what_it_is() -> None:
    """Its time is that of one token; the row names the part of the model."""
    numbers = profile(20.0)["numbers"]
    numbers = [n | {"phase": "decode"} if n["name"] == "latency_p50" else n for n in numbers]
    prefill = [n | {"phase": "prefill", "value": 999.0} for n in numbers if "phase" in n]
    part = MANIFEST | {"part": "decoder"}
    text = shown(terminal.summary(part, {"numbers": numbers + prefill}))
    assert "board decoder" in text
    assert "a token after 128 in the cache" in " ".join(text.split())
    assert "999" not in text
