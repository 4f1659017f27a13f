"""Cut MiniLM's vocabulary to a corpus: size, the same answers in float, and what other texts lose.

    python benchmarks/vocabulary.py [--json FILE]

Each corpus calibrates (its first 32 texts) and judges. *Same* counts the texts of the corpus whose
sentence embedding is the dense float model's bit for bit. *Others* is the mean cosine, to the dense
float model, of 64 sentences that are not of the corpus: of the artifact, through its tokenizer.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from running import build, machine, options, save
from sentences import HELDOUT, MODEL, open_minilm
from tokenizers import Tokenizer

from edgecompile.data.dataset import data_dir
from edgecompile.data.encoder import TOKENIZER, Encoder, open_encoder
from edgecompile.data.kinds.texts import read_texts
from edgecompile.emit import onnxruntime as engine
from edgecompile.evaluate.accuracy import compare
from edgecompile.plan import FLOAT
from edgecompile.prune.cut_vocabulary import cut_vocabulary
from edgecompile.session import answer, session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE

CORPORA = ("golden.jsonl", "docs.jsonl")
LONGEST, OTHERS = 512, 64
WANTED = 0.5
RECIPE = """
[calibration]
data = "{corpus}"
samples = 32

[profile]
sequence = [16]
repeats = 1
"""
PRUNE = """
[prune]
vocabulary = "{corpus}"
"""


def main() -> None:
    """Build dense and cut, compare, print."""
    arguments = options(__doc__).parse_args()
    dense, encoder = open_minilm(LONGEST)
    print(f"machine: {machine()}; all measured")
    print(f"  {'vocabulary of':15}{'texts':>6}{'tokens':>8}{'artifact':>10}{'':7}", end="")
    print(f"{'tokenizer':>11}{'same':>11}{'others':>9}")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        rows.append(measure(dense, encoder, CORPORA[0], scratch / "dense", prune=False))
        rows += [measure(dense, encoder, c, scratch / c, prune=True) for c in CORPORA]
    for row in rows:
        row["share"] = row["bytes"] / rows[0]["bytes"]
        sizes = f"{row['bytes'] / 1e6:7.2f} MB{row['share']:7.1%}{row['tokenizer'] / 1e3:8.1f} kB"
        texts = f"{row['same']:5} of{row['texts']:4}{row['others']:9.4f}"
        print(f"  {row['corpus']:15}{row['texts']:6}{row['tokens']:8}{sizes}{texts}")
    print(
        f"  wanted: at most {WANTED:.0%} of the dense artifact; every text of the corpus the same"
    )
    save(arguments.json, {"machine": machine(), "rows": rows})


def measure(
    dense: ir.Model, encoder: Encoder, corpus: str, folder: Path, *, prune: bool
) -> dict[str, Any]:
    """Build, and compare with the dense float model on the corpus and on other texts."""
    path = data_dir() / corpus
    folder.mkdir()
    recipe = (RECIPE + PRUNE * prune).format(corpus=path)
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    artifact, _ = build(MODEL, folder / "dist", "--recipe", folder / "recipe.toml")
    bundle = artifact.parent
    kept = kept_ids(MODEL / TOKENIZER, bundle / TOKENIZER)
    narrow = cut_vocabulary(dense, kept)
    other = open_encoder(bundle, narrow, LONGEST)
    texts = list(read_texts(path))
    pairs = zip(embed(dense, encoder, texts), embed(narrow, other, texts), strict=True)
    held = list(read_texts(data_dir() / HELDOUT))[:OTHERS]
    feeds = list(other(held))
    run = engine.runner(artifact)
    truths = [[x] for x in embed(dense, encoder, held)]
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    return {
        "corpus": corpus if prune else "all (not cut)",
        "texts": len(texts),
        "tokens": len(kept),
        "bytes": artifact.stat().st_size,
        "tokenizer": (bundle / TOKENIZER).stat().st_size,
        "same": sum(a.tobytes() == b.tobytes() for a, b in pairs),
        "others": compare("cosine", [run(f) for f in feeds], truths, feeds).mean,
        "accuracy": manifest["accuracy"],
    }


def kept_ids(old: Path, new: Path) -> list[int]:
    """Return the old id of each new one."""
    before, after = (Tokenizer.from_file(str(path)) for path in (old, new))
    return [before.token_to_id(after.id_to_token(i)) for i in range(after.get_vocab_size())]


def embed(model: ir.Model, encoder: Encoder, texts: Sequence[str]) -> list[np.ndarray]:
    """Return the float model's embedding of each text."""
    opened = session(lower(model, FLOAT, REFERENCE))
    return [row[0] for row in answer(opened, list(encoder(texts)))]


if __name__ == "__main__":
    main()
