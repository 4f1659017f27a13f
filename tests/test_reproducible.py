"""The same inputs give the same bytes: in another folder, by another user, on other threads.

Compared is every file but profile.json and report.html, which hold measured times, and of
manifest.json all but times. What is chosen by times cannot be the same again, and is not built
here: `:fastest`, [prune] latency, and the order in which layers climb the ladder.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgecompile.reproducible import MEASURED, reproducible_files, reproducible_hash

ROOT = Path(__file__).parents[1]
RECIPES = {
    "int8": "",
    "gptq": '[quantize]\nrounding = "gptq"\n',
    "pruned": "[prune]\nffn = 0.25\nheads = 0.25\n",
    "weights": '[quantize]\nscheme = "int4-weights"\n',
}
GATE = "[gate]\ncosine_mean = 0.3\nsignal = 0.0\n[profile]\nsequence = [8]\nrepeats = 1\n"


def build(place: Path, model: Path, recipe: str, *before: str, **environment: str) -> Path:
    """Build in a process and a folder of its own; return the bundle."""
    place.mkdir(parents=True)
    shutil.copytree(model, place / "model")
    (place / "edgecompile.toml").write_text(recipe + GATE)
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "EDGECOMPILE_CACHE": str(place / "no"),
        **environment,
    }
    command = [*before, sys.executable, "-m", "edgecompile", "build", "model", "-t", "x86-64"]
    done = subprocess.run(
        [*command, "--recipe", "edgecompile.toml"],
        cwd=place, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place / "dist" / "model-x86-64"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_another_place_user_locale_and_number_of_threads_change_no_byte(
    recipe: str, built: Path, tmp_path: Path
) -> None:
    """Each bundle is compared with one built on all CPUs of this machine."""
    model = built / "model"
    first = build(tmp_path / "a", model, recipe, PYTHONHASHSEED="1")
    other = {
        "PYTHONHASHSEED": "2",
        "LC_ALL": "C",
        "TZ": "Pacific/Kiritimati",
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    before = ["sh", "-c", 'umask 077; exec "$@"', "sh"]
    if shutil.which("taskset"):
        before += ["taskset", "-c", str(min(os.sched_getaffinity(0)))]
    second = build(tmp_path / "b c" / "deep", model, recipe, *before, **other)
    tables = [json.loads((b / "manifest.json").read_text()) for b in (first, second)]
    names = {path.name for path in first.iterdir()}
    assert names == {path.name for path in second.iterdir()}
    compared = names - {*MEASURED, "manifest.json"}
    assert compared == reproducible_files(tables[0]).keys()
    assert {"model.onnx", "golden.npz", "tokenizer.json", "smoke.py", "sbom.cdx.json"} <= compared
    for name in sorted(compared):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert reproducible_hash(tables[0]) == reproducible_hash(tables[1])


def test_a_time_changes_no_hash_and_a_decision_does() -> None:
    """Steps take other seconds each time; a range is a decision."""
    table = {"steps": [{"name": "fold", "seconds": 1.0}], "files": {"a": "1"}, "low": -1.0}
    later = table | {"steps": [{"name": "fold", "seconds": 2.0}], "files": {"a": "2"}}
    assert reproducible_hash(later) == reproducible_hash(table)
    assert reproducible_hash(table | {"low": -2.0}) != reproducible_hash(table)
