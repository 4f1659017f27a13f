"""Prune and distil MiniLM, build it in int8, and compare it with peers' int8 of the whole one.

    make bench-distill    (or: .venv-export/bin/python benchmarks/distill.py [RECIPE ...])

For each recipe of recipes/: `edgecompile distill`, then `edgecompile build`. Texts and retrieval
pairs are this machine's docstrings (docstrings.py), apart from each other. Cosine is that of the
sentence embedding to the dense float model's, mean and worst of 256 held-out sentences of the
committed sets; recall@1 and MRR are those of retrieval.py. A run that was ended goes on.
"""

import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import quantizers
from docstrings import TEXTS, make_corpus, read_pairs
from retrieval import rank, score
from running import ROOT, file_bytes, machine, options, save, timed
from sentences import CALIBRATION, HELDOUT, MODEL, SAMPLES, feeds, open_minilm, write_float

from edgecompile.data.encoder import Encoder
from edgecompile.emit import onnxruntime as engine
from edgecompile.evaluate.accuracy import compare
from edgecompile.profile.choose_feeds import resize
from edgecompile.profile.measure_latency import time_in_turn

RECIPES = ("half", "half-ffn")
WANTED = {"half": 0.97, "half-ffn": 0.98}
WANTED_SPEED, WANTED_RECALL, WANTED_MINUTES = 1.5, 0.015, 30
LONGEST, LENGTH, REPEATS = 256, 128, 60
WORK = ROOT / ".cache" / "distill"


def main() -> None:
    """Distil, build, compare, print."""
    parser = options(__doc__)
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE")
    arguments = parser.parse_args()
    corpus = make_corpus()
    print(f"machine: {machine()}; all measured")
    trained = {name: train(name, corpus) for name in arguments.recipes}
    model, encoder = open_minilm(LONGEST)
    peers = WORK / "peers"
    shutil.rmtree(peers, ignore_errors=True)
    peers.mkdir(parents=True)
    models = {"float": write_float(model, peers / "float"), "dynamic best": peers / "best.onnx"}
    calibration = feeds(encoder, CALIBRATION, SAMPLES)
    quantizers.dynamic_best(models["float"], models["dynamic best"], calibration)
    models |= {name: Path(row["artifact"]) for name, row in trained.items()}
    rows = against(models, encoder, read_pairs(corpus))
    print(f"  {'':14}{'ms':>8}{'MB':>7}{'cosine':>9}{'worst':>8}{'recall@1':>10}{'to float':>10}")
    for name, row in rows.items():
        times = f"{row['ms']:8.2f}{row['bytes'] / 1e6:7.1f}"
        found = f"{row['mean']:9.4f}{row['min']:8.4f}{row['recall']:10.4f}"
        print(
            f"  {name:14}{times}{found}{row['recall_to_float']:10.2%} +-{row['recall_error']:.2%}"
        )
    for name, row in trained.items():
        faster = rows["dynamic best"]["ms"] / rows[name]["ms"]
        print(
            f"  {name}: {faster:.2f} x as fast as the best peer's int8 of the whole model (wanted:"
            f" {WANTED_SPEED}); float student {row['before']:.4f} before training,"
            f" {row['after']:.4f} after (wanted: {WANTED.get(name)}), on its own held-out texts;"
            f" {row['minutes']} (wanted: {WANTED_MINUTES})"
        )
    print(f"  wanted: recall@1 within {WANTED_RECALL:.1%} of float")
    save(arguments.json, {"machine": machine(), "trained": trained, "models": rows})


def train(name: str, corpus: Path) -> dict[str, Any]:
    """Distil and build by a recipe, as a user does; return the artifact and the figures."""
    folder = WORK / name
    folder.mkdir(parents=True, exist_ok=True)
    for link, place in (("model", MODEL.resolve()), (TEXTS, corpus / TEXTS)):
        (folder / link).unlink(missing_ok=True)
        (folder / link).symlink_to(place)
    recipe = folder / "recipe.toml"
    shutil.copy(ROOT / "benchmarks" / "recipes" / f"{name}.toml", recipe)
    command = [sys.executable, "-m", "edgecompile"]
    trained_before = (folder / "student" / "student.json").is_file()
    ran = timed([*command, "distill", recipe])
    timed([*command, "build", "--recipe", recipe, "-t", "x86-64", "-o", folder / "dist"])
    record = json.loads((folder / "student" / "student.json").read_text(encoding="utf-8"))
    artifact = next((folder / "dist").glob("*/model.onnx"))
    return {
        "artifact": str(artifact),
        "minutes": "trained in an earlier run" if trained_before else f"{ran.seconds / 60:.0f} min",
        "before": record["before"]["mean"],
        "after": record["after"]["mean"],
    }


def against(
    models: dict[str, Path], encoder: Encoder, pairs: list[tuple[str, str]]
) -> dict[str, dict[str, float]]:
    """Time all models in turn, and judge each on held-out sentences and on retrieval."""
    runners = {name: engine.runner(path, threads=1) for name, path in models.items()}
    held = feeds(encoder, HELDOUT, 256)
    times = time_in_turn(runners, resize(held[0], LENGTH), REPEATS)
    expected = [runners["float"](feed) for feed in held]
    places = {name: rank(path, encoder, pairs) for name, path in models.items()}
    rows = {}
    for name, runner in runners.items():
        found = compare("cosine", [runner(feed) for feed in held], expected, held)
        row = {"ms": statistics.median(times[name]), "bytes": float(file_bytes(models[name]))}
        row |= {"mean": found.mean, "min": found.min}
        rows[name] = row | score(places[name], places["float"])
    return rows


if __name__ == "__main__":
    main()
