"""A task with labels: find a documentation text by its summary line, float against int8.

    make bench-tasks    (or: python benchmarks/retrieval.py [--json FILE])

4,096 docstrings of this machine's packages (docstrings.py): the summary line asks, the rest of the
docstring is the answer, among 4,096. Recall@1 is how often the answer comes first, MRR the mean of
1 / its place. No text of it has calibrated or gated a model. Needs .venv-export, for its packages.

Texts are embedded one by one, as when a model is used: in a batch, a dynamically quantized model
rounds each text by the largest values of all.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import quantizers
from docstrings import Pair, make_corpus, read_pairs
from running import build, machine, options, save
from sentences import CALIBRATION, MODEL, SAMPLES, feeds, open_minilm, write_float

from edgecompile.data.encoder import Encoder
from edgecompile.emit import onnxruntime as engine
from edgecompile.graph import FloatArray

LONGEST = 256
WANTED = 0.005


def main() -> None:
    """Build, quantize, embed, rank, print."""
    arguments = options(__doc__).parse_args()
    pairs = read_pairs(make_corpus())
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
    print(f"  {'':16}{'recall@1':>10}{'to float':>10}{'+-':>8}{'MRR':>10}{'to float':>10}{'+-':>8}")
    for peer, row in figures.items():
        print(
            f"  {peer:16}{row['recall']:10.4f}{row['recall_to_float']:10.2%}"
            f"{row['recall_error']:8.2%}{row['mrr']:10.4f}{row['mrr_to_float']:10.2%}"
            f"{row['mrr_error']:8.2%}"
        )
    print(f"  wanted: edgecompile loses at most {WANTED:.1%}; +- is the standard error, by query")
    save(arguments.json, {"machine": machine(), "pairs": len(pairs), "models": figures})


def score(places: FloatArray, truth: FloatArray) -> dict[str, float]:
    """Return recall@1 and MRR, how far each is from float's, and the paired standard error."""
    figures = {}
    for name, of in (("recall", lambda ranks: ranks == 1), ("mrr", lambda ranks: 1 / ranks)):
        mine, floats = of(places).astype(np.float64), of(truth).astype(np.float64)
        change = (mine - floats) / floats.mean()
        figures |= {
            name: float(mine.mean()),
            f"{name}_to_float": float(change.mean()),
            f"{name}_error": float(change.std(ddof=1) / len(change) ** 0.5),
        }
    return figures


def rank(model: Path, encoder: Encoder, pairs: list[Pair]) -> FloatArray:
    """Return each query's place for its own document among all, by cosine; 1 is the first."""
    run = engine.runner(model, threads=1)  # one text a CPU: faster than all CPUs for one text

    def embed(texts: list[str]) -> FloatArray:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            rows = np.concatenate(list(threads.map(lambda feed: run(feed)[0], encoder(texts))))
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))

    queries, documents = (embed([pair[side] for pair in pairs]) for side in (0, 1))
    scores = queries @ documents.T
    return np.asarray(1 + (scores > np.diag(scores)[:, None]).sum(axis=1))


if __name__ == "__main__":
    main()
