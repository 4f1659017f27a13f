"""`edgecompile distill`: trains, survives kills, stops early, names mistakes in one line."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from edgecompile.plan import FLOAT
from edgecompile.session import session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE

pytestmark = pytest.mark.exporters

Study = Callable[..., Path]
COMMAND = (sys.executable, "-m", "edgecompile", "distill")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def distill(recipe: Path, *more: str) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, str(recipe), *more], capture_output=True, text=True, check=False, timeout=300,
        env=ENVIRONMENT,
    )  # fmt: skip


def digest(recipe: Path) -> str:
    """Return the SHA-256 of the student that was written."""
    return hashlib.sha256((recipe.parent / "student" / "student.onnx").read_bytes()).hexdigest()


def last_line(done: "subprocess.CompletedProcess[str]") -> str:
    """Return the last line of standard error."""
    return done.stderr.strip().splitlines()[-1]


def test_the_student_gets_nearer_and_its_folder_tells(study: Study) -> None:
    """student.onnx runs; student.json, log.jsonl and loss.svg say how near it got."""
    recipe = study()
    done = distill(recipe, "--json")
    assert done.returncode == 0, done.stderr
    folder = recipe.parent / "student"
    record = json.loads((folder / "student.json").read_text())
    assert json.loads(done.stdout)["after"] == record["after"]
    assert record["after"]["mean"] > record["before"]["mean"] + 0.01
    assert record["files"] == {"student.onnx": digest(recipe)}
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 10, 20, 30, 40]
    assert rows[-1]["loss"] < rows[1]["loss"]
    assert record["after"]["mean"] == max(row["mean"] for row in rows)
    assert "<svg" in (folder / "loss.svg").read_text()
    model = ir.load(folder / "student.onnx")
    assert model.graph.initializers["encoder.layer.0.intermediate.dense.weight"].shape == (32, 16)
    ids = np.array([[5, 6, 7]])
    feed = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
    assert all(
        np.isfinite(a).all() for a in session(lower(model, FLOAT, REFERENCE)).run(None, feed)
    )


def test_killed_five_times_it_ends_with_the_same_weights(study: Study) -> None:
    """Kill -9 at random moments; the same command goes on and ends bit-identical."""
    recipe = study(steps=400, evaluate_every=40, checkpoint_every=7)
    assert distill(recipe).returncode == 0
    wanted = digest(recipe)
    moments = np.random.default_rng(0)
    alive, begins, arguments = 0, [], ["--restart"]
    for _ in range(5):
        with subprocess.Popen(
            [*COMMAND, str(recipe), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if " distill " in line:  # the training begins
                    break
            time.sleep(moments.random() * 1.5)
            alive += process.poll() is None
            process.kill()
        found = sorted((recipe.parent / "student" / "checkpoints").glob("[0-9]*"))
        begins.append(int(found[-1].name) if found else 0)
        arguments = []
    assert alive >= 3
    assert begins == sorted(begins)
    assert distill(recipe).returncode == 0
    assert digest(recipe) == wanted


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_checkpoint_and_one_line(study: Study, number: int, code: int) -> None:
    """The step is finished, its checkpoint written; the same command goes on from there."""
    recipe = study(steps=300, evaluate_every=20, checkpoint_every=300)
    with subprocess.Popen(
        [*COMMAND, str(recipe)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 20/300" in line:
                break
        process.send_signal(number)
        rest = process.stderr.read().strip().splitlines()
        assert process.wait() == code
    assert rest[-1].startswith(f"error: stopped by {signal.Signals(number).name} after step")
    assert not [line for line in rest if "Traceback" in line]
    step = int(rest[-1].split("after step ")[1].split(";")[0])
    assert (recipe.parent / "student" / "checkpoints" / f"{step:08}").is_dir()


def test_a_training_that_gains_nothing_stops_and_keeps_the_best(study: Study) -> None:
    """With a rate that only destroys, the student before training is kept."""
    recipe = study(kept=64, quantize_aware=True, learning_rate=10.0, warmup=0.0, patience=2)
    done = distill(recipe)
    record = json.loads((recipe.parent / "student" / "student.json").read_text())
    assert done.returncode == 0, done.stderr
    assert record["best_step"] == 0
    assert record["steps"] == 20
    assert record["before"] == record["after"]


def test_logits_learn_from_teacher_and_labels(study: Study) -> None:
    """A classifier: KL to the teacher's logits, cross-entropy with the labels."""
    recipe = study("sequence", labels="kind", attention=0.5, accumulate=2, batch=8)
    done = distill(recipe)
    assert done.returncode == 0, done.stderr
    rows = (recipe.parent / "student" / "log.jsonl").read_text().splitlines()
    first, last = json.loads(rows[1]), json.loads(rows[-1])
    for name in ("outputs", "hidden", "attention", "labels"):
        assert last[name] < first[name]
    assert "agreement" in done.stdout


def test_another_recipe_does_not_go_on_with_these_checkpoints(study: Study) -> None:
    """The key that differs is named; what changes nothing may differ; --restart begins anew."""
    recipe = study(steps=4, evaluate_every=2)
    assert distill(recipe).returncode == 0
    again = distill(recipe)
    assert again.returncode == 0
    assert "done already" in again.stderr
    text = recipe.read_text()
    recipe.write_text(text.replace("checkpoint_every = 5", "checkpoint_every = 2"))
    assert "done already" in distill(recipe).stderr
    recipe.write_text(text.replace("learning_rate = 0.003", "learning_rate = 0.002"))
    other = distill(recipe)
    assert other.returncode == 1
    assert "[distill] learning_rate was 0.003, is 0.002; --restart" in last_line(other)
    assert distill(recipe, "--restart").returncode == 0


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"held_out": 290}, "236 samples; [distill] held_out = 290 and a batch of 16 need 306"),
        ({"samples": 400}, "holds 300 samples, [distill] samples asks for 400"),
        ({"labels": "kind"}, "one a sample needs an output 'logits' [batch, classes]"),
        ({"steps": 0}, "[distill] steps: must be at least 1"),
        ({"paralel": "data"}, "did you mean 'parallel'?"),
        ({"compress": "zip"}, "[distill] compress: 'zip' is not known; known: none, fp16"),
        ({"kept": 64}, "nothing was removed: the student is the dense model"),
        ({"learning_rate": 1e30, "steps": 5}, "; lower learning_rate"),
    ],
)
def test_a_mistake_is_one_line(study: Study, table: dict[str, object], message: str) -> None:
    """What is wrong, where, and what to do."""
    done = distill(study(**table))  # type: ignore[arg-type]
    assert done.returncode == 1
    assert last_line(done).startswith("error: ")
    assert message in last_line(done)


def test_labels_out_of_range_are_one_line(study: Study) -> None:
    """With the line of the file."""
    recipe = study("sequence", labels="kind")
    data = recipe.parent / "texts.jsonl"
    data.write_text(data.read_text().replace('"kind": 2', '"kind": 3', 1))
    done = distill(recipe)
    assert done.returncode == 1
    assert "line 3: label 3; the model has 3 classes, 0 to 2" in last_line(done)


def test_teacher_and_student_of_different_outputs(study: Study, tmp_path: Path) -> None:
    """Both sets of outputs are named, and no folder that looks begun is left."""
    recipe = study()
    student = ir.load(tmp_path / "narrow.onnx")
    student.graph.outputs[0].name = "other"
    ir.save(student, tmp_path / "narrow.onnx")
    done = distill(recipe)
    assert done.returncode == 1
    assert "the student's outputs are" in last_line(done)
    assert "sentence_embedding" in last_line(done)
    assert not (tmp_path / "student" / "started.json").exists()
