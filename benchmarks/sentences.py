"""MiniLM and the sentences that the benchmarks give it."""

from itertools import islice
from pathlib import Path

import onnx_ir as ir
from running import ROOT

from edgecompile.data.dataset import data_dir
from edgecompile.data.encoder import Encoder, open_encoder
from edgecompile.data.feed import Feed
from edgecompile.data.kinds.texts import read_texts
from edgecompile.emit import onnxruntime as engine
from edgecompile.export.read_model import export, find_source
from edgecompile.passes import passes_of, run

MODEL = ROOT / "models" / "all-MiniLM-L6-v2"
CALIBRATION = "docs.jsonl"
HELDOUT = "heldout.jsonl"
SAMPLES = 64


def open_minilm(longest: int = 512) -> tuple[ir.Model, Encoder]:
    """Return the float graph and what turns texts into its inputs."""
    model = export(find_source(MODEL))
    return model, open_encoder(MODEL, model, longest)


def feeds(encoder: Encoder, name: str, count: int) -> list[Feed]:
    """Return the first texts of a committed set as inputs."""
    return list(encoder(list(islice(read_texts(data_dir() / name), count))))


def write_float(model: ir.Model, folder: Path) -> Path:
    """Write the float model in the form in which torch exports it: what peers start from."""
    *_, (_, plain) = run(passes_of("lower/exchange"), model)
    folder.mkdir()
    (file, *_) = engine.write(plain, folder, {}, one_file_bytes=0)
    return folder / file
