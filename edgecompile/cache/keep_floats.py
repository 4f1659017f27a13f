"""The float model that all targets share, on disk and back: graphs, data, answers, records."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.cache.keep_model import read_model, write_model
from edgecompile.data.dataset import Dataset
from edgecompile.data.encoder import TOKENIZER
from edgecompile.data.source import Source as DataSource
from edgecompile.data.source import Stretch
from edgecompile.parts import Part
from edgecompile.plan import FLOAT
from edgecompile.prepare import Prepared
from edgecompile.rows_file import Rows, read_answers, write_answers, write_rows
from edgecompile.step import Step

if TYPE_CHECKING:
    from edgecompile.export.read_model import Source
    from edgecompile.recipe import Recipe

RECORD, EXPECTED = "float.json", "expected.npz"
GOLDEN, CALIBRATION = "golden.npz", "calibration.npz"
OF_PREPARED = ("longest", "inputs", "vocabulary", "pruning")
OF_DATA = ("calibrated", "judged", "hashes", "repaired", "texts")


def write_floats(prepared: Prepared, folder: Path) -> None:
    """Write all of it but the plan."""
    data = prepared.data
    write_model(prepared.dense, folder, "dense")
    if prepared.model is not prepared.dense:
        write_model(prepared.model, folder, "model")
    write_rows(folder / GOLDEN, data.golden)
    write_rows(folder / CALIBRATION, data.calibration)
    write_answers(folder / EXPECTED, prepared.expected)
    (folder / TOKENIZER).write_bytes(prepared.tokenizer)
    told = {name: _plain(getattr(prepared, name)) for name in OF_PREPARED}
    told |= {name: _plain(getattr(data, name)) for name in OF_DATA}
    told["steps"] = [asdict(step) for step in prepared.steps]
    (folder / RECORD).write_text(json.dumps(told), encoding="utf-8")


def read_floats(folder: Path, source: "Source", part: str, recipe: "Recipe") -> Prepared:
    """Read it; the data's samples come from here, not from where they came from at first."""
    told = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    dense = read_model(folder, "dense")
    pruned = (folder / "model.onnx").is_file()
    golden, calibration = Rows(folder / GOLDEN), Rows(folder / CALIBRATION)
    calibrated = told["calibrated"]
    place = DataSource(
        calibrated["kind"],
        Path(calibrated["data"]),
        lambda limit: min(limit, len(calibration)),
        calibration.read,
    )
    data = Dataset(
        Stretch(place, 0, len(calibration)),
        list(golden.read(0, len(golden))),
        **{name: told[name] for name in OF_DATA},
    )
    return Prepared(
        source=source,
        part=Part(part, dense),
        recipe=recipe,
        dense=dense,
        model=read_model(folder, "model") if pruned else dense,
        plan=FLOAT,
        data=data,
        expected=read_answers(folder / EXPECTED),
        tokenizer=(folder / TOKENIZER).read_bytes(),
        steps=[Step(**row) for row in told["steps"]],
        **{name: told[name] for name in OF_PREPARED},
    )


def _plain(value: object) -> object:
    """Return mappings and sequences as JSON has them."""
    if hasattr(value, "items"):
        return dict(value.items())
    return list(value) if isinstance(value, tuple) else value
