"""A task with labels: find a documentation text by its summary line, float against int8.

    make bench-tasks    (or: python benchmarks/retrieval.py [--json FILE])

700 docstrings of Python's standard library (calibration_data/retrieval.jsonl): the summary line
asks, the rest of the docstring is the answer, among 700. Recall@1 is how often the answer comes
first, MRR the mean of 1 / its place. No text of it has calibrated or gated a model.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import quantizers
from running import build, machine, options, save
from sentences import CALIBRATION, MODEL, SAMPLES, feeds, open_minilm, write_float

from edgecompile.data.dataset import data_dir
from edgecompile.data.encoder import Encoder
from edgecompile.emit import onnxruntime as engine
from edgecompile.graph import FloatArray

LONGEST = 256
WANTED = 0.005


def main() -> None:
    """Build, quantize, embed, rank, print."""
    arguments = options(__doc__).parse_args()
    lines = (data_dir() / "retrieval.jsonl").read_text(encoding="ascii").splitlines()
    pairs = [json.loads(line) for line in lines]
    print(f"machine: {machine()}; measured on {len(pairs)} pairs")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        model, encoder = open_minilm(LONGEST)
        models = {"float": write_float(model, scratch / "float")}
        calibration = feeds(encoder, CALIBRATION, SAMPLES)
        peers = {"dynamic int8": quantizers.dynamic, "dynamic best": quantizers.dynamic_best}
        for peer, quantize in peers.items():
            models[peer] = scratch / f"{peer}.onnx"
            quantize(models["float"], models[peer], calibration)
        models["edgecompile"], _ = build(MODEL, scratch / "dist")
        recipe = scratch / "gptq.toml"
        recipe.write_text('[quantize]\nrounding = "gptq"\n')
        models["the same, gptq"], _ = build(MODEL, scratch / "gptq", "--recipe", recipe)
        rows = {peer: rank(path, encoder, pairs) for peer, path in models.items()}
    figures = {peer: score(found, rows["float"]) for peer, found in rows.items()}
    print(f"  {'':16}{'recall@1':>10}{'MRR':>9}{'MRR to float':>14}{'+-':>8}")
    for peer, row in figures.items():
        text = f"{row['recall']:10.4f}{row['mrr']:9.4f}{row['mrr_to_float']:14.2%}"
        print(f"  {peer:16}{text}{row['error']:8.2%}")
    print(f"  wanted: edgecompile loses at most {WANTED:.1%}; +- is the standard error, by query")
    save(arguments.json, {"machine": machine(), "pairs": len(pairs), "models": figures})


def score(places: FloatArray, truth: FloatArray) -> dict[str, float]:
    """Return recall@1, MRR, and how far MRR is from float's, with the paired standard error."""
    change = (1 / places - 1 / truth) / np.mean(1 / truth)
    return {
        "recall": float(np.mean(places == 1)),
        "mrr": float(np.mean(1 / places)),
        "mrr_to_float": float(change.mean()),
        "error": float(change.std(ddof=1) / len(change) ** 0.5),
    }


def rank(model: Path, encoder: Encoder, pairs: list[dict[str, str]]) -> FloatArray:
    """Return each query's place for its own document among all, by cosine; 1 is the first."""
    run = engine.runner(model)

    def embed(texts: list[str]) -> FloatArray:
        rows = np.concatenate([run(feed)[0] for feed in encoder(texts)])
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    queries, documents = (embed([pair[key] for pair in pairs]) for key in ("query", "document"))
    scores = queries @ documents.T
    return np.asarray(1 + (scores > np.diag(scores)[:, None]).sum(axis=1))


if __name__ == "__main__":
    main()
