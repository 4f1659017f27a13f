"""The data that is committed with edgecompile."""

from pathlib import Path


def data_dir() -> Path:
    """Return `calibration_data/`: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parents[1] / "calibration_data"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "calibration_data"
