"""Several processes: the same course as one with the whole batch; a killed one is told."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

pytestmark = pytest.mark.exporters

Study = Callable[..., Path]
TWO = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
CLOSE = 2e-4
COMPRESSED = 0.02


def log(recipe: Path) -> list[dict[str, Any]]:
    """Return the log of the training."""
    lines = (recipe.parent / "student" / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def run(recipe: Path, *launch: str) -> list[dict[str, Any]]:
    """Train anew; return the log."""
    done = subprocess.run(
        [*(launch or (sys.executable,)), "-m", "edgecompile", "distill", str(recipe), "--restart"],
        capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return log(recipe)


@pytest.mark.parametrize(
    ("table", "tolerance"),
    [
        ({}, CLOSE),
        ({"parallel": "parameters"}, CLOSE),
        ({"accumulate": 2, "batch": 4}, CLOSE),
        ({"compress": "fp16"}, COMPRESSED),
        ({"compress": "powersgd"}, 5 * COMPRESSED),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_two_processes_train_as_one_with_the_doubled_batch(
    study: Study, table: dict[str, Any], tolerance: float
) -> None:
    """Losses and scores of every evaluation agree; compression costs what it may."""
    alone = run(study(attention=0.5, batch=16))
    together = run(study(attention=0.5, **{"batch": 8, **table}), *TWO)
    assert [row["step"] for row in alone] == [row["step"] for row in together]
    for one, two in zip(alone[1:], together[1:], strict=True):
        for key in ("loss", "outputs", "hidden", "attention", "mean"):
            assert two[key] == pytest.approx(one[key], rel=tolerance), key
    if tolerance > CLOSE:
        assert together[-1]["mean"] != alone[-1]["mean"]


def test_bf16_between_cpus_is_refused(study: Study) -> None:
    """Torch has that hook for nccl alone; one line says what works."""
    command = [*TWO, "-m", "edgecompile", "distill", str(study(compress="bf16"))]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT
    )
    assert done.returncode == 1
    assert "error: [distill] compress: 'bf16' is nccl's, between GPUs" in done.stderr


@pytest.mark.parametrize("parallel", ["data", "parameters"])
def test_a_killed_process_is_told_and_the_training_goes_on(study: Study, parallel: str) -> None:
    """The survivor says in one line what happened; the same command resumes and ends as usual."""
    recipe = study(batch=8, steps=80, evaluate_every=10, parallel=parallel)
    wanted = run(recipe, *TWO)
    command = [*TWO, "-m", "edgecompile", "distill", str(recipe), "--restart"]
    with subprocess.Popen(
        command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as launcher:
        assert launcher.stdout is not None
        for line in launcher.stdout:
            if "step 20/80" in line:
                break
        os.kill(worker(launcher.pid, rank=1), signal.SIGKILL)
        rest = launcher.stdout.read()
        assert launcher.wait() == 1
    told = [line for line in rest.splitlines() if line.startswith("error: ")]
    assert len(told) == 1
    assert "lost another one" in told[0] or "stopped by SIGTERM" in told[0]
    kept = sorted((recipe.parent / "student" / "checkpoints").glob("[0-9]*"))
    assert int(kept[-1].name) >= 20
    done = subprocess.run(
        command[:-1], capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    assert "step 20/80" not in done.stderr
    assert log(recipe)[-1]["loss"] == pytest.approx(wanted[-1]["loss"], rel=CLOSE)


def worker(launcher: int, rank: int) -> int:
    """Return the process id of a rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if int(parent) == launcher and f"RANK={rank}".encode() in environment:
            return int(folder.name)
    msg = f"no process of rank {rank}"
    raise ValueError(msg)
