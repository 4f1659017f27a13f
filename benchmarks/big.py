"""Build a BERT of BERT-large's size, or of many gigabytes, and show the memory that it takes.

    python benchmarks/big.py [--gigabytes 3] [--json FILE]

The weights are random, so that the gate is open: what is shown is whether such a model builds, and
the peak resident memory of the largest process of its build against the size of its float file.
"""

import json
import string
import sys
import tempfile
from pathlib import Path

import numpy as np
from running import build, file_bytes, machine, options, save
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

HIDDEN, LAYERS, HEADS, WIDE, WORDS, POSITIONS = 1024, 24, 16, 4096, 30522, 512
LAYER = 4 * HIDDEN * HIDDEN + 2 * HIDDEN * WIDE
"""Parameters of a layer, without its vectors."""
GOAL = 2.5
"""Of BERT-large's size; a bigger one must build at all."""
TEXTS = "edge devices have little memory\nso a compiler should need little too\n" * 4
RECIPE = """
[shapes]
sequence = [1, 64]

[calibration]
data = "calibration.txt"
samples = 8

[evaluate]
data = "golden.txt"

[quantize]
ladder = false

[gate]
cosine_mean = 0.0
signal = 0.0

[profile]
sequence = [16]
repeats = 1
"""


def main() -> None:
    """Make the model, build it, print what that took."""
    parser = options(__doc__)
    parser.add_argument("--gigabytes", type=float, help="size of the float file (1.3)")
    arguments = parser.parse_args()
    layers = LAYERS
    if arguments.gigabytes:
        layers = max(round((arguments.gigabytes * 1e9 / 4 - WORDS * HIDDEN) / LAYER), 1)
    with tempfile.TemporaryDirectory() as scratch:
        model = write_model(Path(scratch) / "big", layers)
        floats = file_bytes(model / "model.safetensors")
        recipe = write_recipe(Path(scratch))
        artifact, ran = build(model, Path(scratch) / "dist", "--recipe", recipe)
        int8 = file_bytes(artifact)
        failed = json.loads((artifact.parent / "profile.json").read_text(encoding="utf-8"))
    ratio = ran.largest_bytes / floats
    print(f"machine: {machine()}; all measured\n")
    print(f"BERT of {layers} layers, width {HIDDEN}: {floats / 1e9:.2f} GB float32")
    print(f"  artifact {int8 / 1e9:.2f} GB, built in {ran.seconds:.0f} s")
    what = f"peak of the largest process {ran.largest_bytes / 1e9:.2f} GB"
    print(f"  {what}: {ratio:.2f} x the float file (goal: {GOAL})")
    print(f"  dynamic int8: {failed.get('dynamic_int8_failed', 'timed')}")
    figures = {"float_bytes": floats, "artifact_bytes": int8, "peak_ratio": ratio}
    figures |= {"largest_bytes": ran.largest_bytes, "seconds": ran.seconds}
    save(arguments.json, {"machine": machine(), "layers": layers, **figures})
    sys.exit(arguments.gigabytes is None and ratio > GOAL)


def write_recipe(folder: Path) -> Path:
    """Write a recipe of few samples, that asks nothing of random weights."""
    for name in ("calibration", "golden"):
        (folder / f"{name}.txt").write_text(f"{name}\n{TEXTS}", encoding="utf-8")
    recipe = folder / "edgecompile.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe


def write_model(folder: Path, layers: int) -> Path:
    """Write a Hugging Face directory of a BERT with random weights."""
    folder.mkdir()
    config = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "max_position_embeddings": POSITIONS,
        "num_attention_heads": HEADS,
        "num_hidden_layers": layers,
        "type_vocab_size": 2,
        "vocab_size": WORDS,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    random = np.random.default_rng(0)
    weights = {}
    for name, shape in _shapes(layers).items():
        array = random.standard_normal(shape, np.float32)
        array *= 0.02  # as BERT is initialised
        weights[name] = array + 1 if name.endswith("LayerNorm.weight") else array
    save_file(weights, folder / "model.safetensors")
    letters = ["[UNK]", *string.ascii_lowercase, *(f"##{c}" for c in string.ascii_lowercase)]
    vocabulary = {token: number for number, token in enumerate(letters)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=letters[0]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def _shapes(layers: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors that transformers saves for a BertModel."""
    tables = {"word": WORDS, "position": POSITIONS, "token_type": 2}
    found: dict[str, tuple[int, ...]] = {
        f"embeddings.{name}_embeddings.weight": (rows, HIDDEN) for name, rows in tables.items()
    }
    norms, linears = ["embeddings.LayerNorm"], {}
    for layer in (f"encoder.layer.{number}" for number in range(layers)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            linears[f"{layer}.attention.{part}"] = (HIDDEN, HIDDEN)
        linears[f"{layer}.intermediate.dense"] = (WIDE, HIDDEN)
        linears[f"{layer}.output.dense"] = (HIDDEN, WIDE)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, shape in linears.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        found |= {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}
    return found


if __name__ == "__main__":
    main()
