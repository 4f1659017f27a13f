"""Run a bundle's own smoke.py, here or on its board's emulated CPU, and keep what it found."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import target
from edgecompile.bundles.read_bundle import ReadBundle, read_bundle
from edgecompile.bundles.report_bundles import renew_report
from edgecompile.bundles.rewrite_bundle import rewrite_bundle
from edgecompile.bundles.smoke_result import accuracy_of, failure, latency_numbers, read_result
from edgecompile.errors import EmulationError, SmokeError
from edgecompile.host import read_host, why_not
from edgecompile.run_program import run_program
from edgecompile.scratch import scratch_folder

if TYPE_CHECKING:
    from edgecompile.emulate.userland import Say
    from edgecompile.profile.profile_host import Number

TIME_LIMIT_S = 3600


@dataclass(frozen=True, slots=True)
class Profiled:
    """What smoke.py found and where, "measured" or "emulated", and what was kept of it."""

    bundle: ReadBundle
    result: Mapping[str, Any]
    kind: str
    where: str
    kept: str
    counts: "Sequence[Number]" = ()

    def table(self) -> dict[str, Any]:
        """Return it as plain data, for --json."""
        return {
            "bundle": str(self.bundle.folder),
            "target": self.bundle.target,
            "kind": self.kind,
            "where": self.where,
            "kept": self.kept,
            "accuracy": dict(self.result["accuracy"]),
            "built": {key: self.bundle.manifest["golden"][key] for key in ("mean", "min")},
            "latency": [dict(row) for row in self.result["latency"]],
            "energy": self.result.get("energy"),
            "warning": (self.bundle.profile.get("host") or {}).get("warning", ""),
            "counts": [dict(number) for number in self.counts],
        }


def profile_here(folder: Path, say: "Say") -> Profiled:
    """Run smoke.py on this machine; keep its latencies where the build could not time any.

    A build on such a machine has timed the artifact in turn with the float model: that says more,
    and stays. Raises GateError where the answers are wrong, SmokeError where nothing can be said.
    """
    bundle = read_bundle(folder)
    here, host = "here", read_host()
    say("profile", f"running {bundle.target}'s smoke.py here")
    with scratch_folder() as scratch:
        path = scratch / "measured.json"
        command: list[str | Path] = [
            sys.executable,
            "-I",
            bundle.folder / "smoke.py",
            "--result",
            path,
        ]
        done = run_program(command, TIME_LIMIT_S, SmokeError, name="smoke.py")
        if done.returncode != 0:
            raise failure(here, done.stdout, done.stderr)
        result = read_result(path, here)
    reason = why_not(host, target.load(bundle.target))
    if reason is not None:
        kept = f"nothing: {reason}"
    elif _timed(bundle.profile):
        kept = "nothing: the build's own latencies were timed in turn with the float model's"
    else:
        profile = replace_latencies(bundle.profile, latency_numbers(result), result)
        bundle, kept = rewrite_bundle(bundle, profile=profile), "its latencies, in profile.json"
        renew_report(bundle.folder)
    where = f"{result['cpu']}, {result['runtime']}"
    return Profiled(bundle, result, "measured", where, kept)


def profile_emulated(folder: Path, say: "Say", model: Path | None = None) -> Profiled:
    """Run smoke.py on the emulated CPU of the bundle's board, and count what it executes.

    `model` is where the float model lies: then that is counted too, and what was saved is known.

    The accuracy is kept in the manifest, counts and the modelled latency in the profile. Sets up
    what it takes, the first time. Raises GateError where smoke.py fails there, or no dot product is
    executed by an int8 artifact where the board has it; EmulationError where this host cannot
    emulate the board.
    """
    from dataclasses import asdict

    from edgecompile.bundles.count_bundle import count_bundle, replace_numbers
    from edgecompile.bundles.count_float import count_float
    from edgecompile.emulate.smoke_test import how, run_smoke_test
    from edgecompile.emulate.userland import open_userland
    from edgecompile.energy.energy_numbers import with_energy
    from edgecompile.judge_on_board import ARCHITECTURE

    bundle = read_bundle(folder)
    board = target.load(bundle.target)
    if board.cpu is None or board.isa not in ARCHITECTURE:
        known = [name for name in target.names() if target.load(name).cpu is not None]
        msg = f"{board.name} has no CPU that is emulated here; those have: {', '.join(known)}"
        raise EmulationError(msg)
    userland = open_userland(ARCHITECTURE[board.isa], say)
    say("profile", f"running {board.name}'s smoke.py on an emulated {board.cpu.name}")
    result = run_smoke_test(userland, board.cpu, bundle.folder, TIME_LIMIT_S)
    told = how(userland, board.cpu, result)
    golden = bundle.manifest["golden"]
    here = {key: golden[key] for key in ("mean", "min", "signal") if key in golden}
    said = {"here": here, "kind": "emulated", "on": f"on a {board.cpu.name}", "how": told}
    row = asdict(accuracy_of(result)) | said
    counted = count_bundle(bundle.folder, bundle.manifest, board, userland, say)
    if model is not None:
        before = count_float(bundle, board, userland, model, say)
        counted = {**counted, "numbers": [*counted["numbers"], *before]}
    wishes = bundle.manifest.get("recipe", {}).get("profile", {})
    country, a_day = str(wishes.get("country", "")), int(wishes.get("inferences_a_day", 0))
    profile = replace_numbers(bundle.profile, counted)
    profile = with_energy(profile, board, country=country, a_day=a_day)
    bundle = rewrite_bundle(bundle, {**bundle.manifest, "accuracy_emulated": row}, profile)
    renew_report(bundle.folder)
    kept = "its accuracy, in manifest.json; counts and modelled latency, in profile.json"
    return Profiled(bundle, result, "emulated", told, kept, counted["numbers"])


def replace_latencies(
    profile: Mapping[str, Any], numbers: "Sequence[Number]", result: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a profile with the artifact's latencies of a smoke.py in place of those it had.

    Where the build was on another machine, the profile's host becomes the one that smoke.py names.
    """
    names = {number["name"] for number in numbers}
    kept = [
        number
        for number in profile["numbers"]
        if number["name"] not in names or number["model"] != "artifact"
    ]
    host = {key: result[key] for key in ("cpu", "isa", "runtime")}
    return {**profile, "host": host, "numbers": [*kept, *numbers]}


def _timed(profile: Mapping[str, Any]) -> bool:
    """Say whether the build measured the artifact's latency."""
    return any(
        number["name"].startswith("latency") and number["kind"] == "measured"
        for number in profile["numbers"]
        if number["model"] == "float"
    )
