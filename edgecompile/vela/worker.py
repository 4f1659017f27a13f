"""Runs in the toolchain's environment: one .tflite file through Vela. It imports nothing of ours.

Vela's own command line is called, in this process; what it prints goes into the log. Its figures
are those of the .csv that it writes.
"""

import csv
from pathlib import Path
from typing import Any


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Compile `model` in this folder; return Vela's version, its output's name and its figures."""
    from ethosu.vela import __version__, vela  # type: ignore[import-not-found]

    folder, model = Path(request["output"]), Path(request["model"])
    options = [f"--{option}" for option in request["options"]]
    options += ["--config=Arm/vela.ini", "--show-cpu-operations", f"--output-dir={folder}"]
    vela.main([str(model), *options])
    (table,) = folder.glob(f"{model.stem}_summary_*.csv")
    with table.open(newline="") as lines:
        figures = list(csv.DictReader(lines))[-1]
    output = folder / f"{model.stem}_vela.tflite"
    return {"version": __version__, "output": str(output), "figures": figures}
