"""Engine tflite_runtime: the older runtime of .tflite files, the only one for 32-bit ARM.

The artifact is litert's, in what this runtime does right. It is run in an environment of its own,
made once in the user's cache by the hashes of toolchain/tflite_runtime.txt: the runtime was built
for Python 3.11 and numpy 1, the project has ended with it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.emit.litert import FIXED_SHAPES, ONE_FILE_BYTES, ROUNDS_OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

__all__ = ["FIXED_SHAPES", "ROUNDS_OUTPUTS"]

ARTIFACT = "model.tflite"
PACKAGE = "tflite-runtime"
"""What pip installs."""
ISAS = ("x86_64", "aarch64", "armv7l")
"""Machines that its wheels are for."""
# No rung "dynamic", as litert has: a float FULLY_CONNECTED by int8 weights is run, but no notice
# is taken of their channels' scales.
HOW = "the artifact executed by tflite-runtime on this host's CPU, texts padded to its lengths"
NEWEST = {
    "ABS": 5, "ADD": 5, "BATCH_MATMUL": 4, "BROADCAST_TO": 3, "CAST": 5, "CEIL": 1,
    "CONCATENATION": 4, "CONV_2D": 7, "COS": 1, "CUMSUM": 1, "DEPTHWISE_CONV_2D": 7,
    "DEQUANTIZE": 5, "DIV": 2, "ELU": 1, "EQUAL": 4, "EXP": 2, "FLOOR": 1, "FULLY_CONNECTED": 10,
    "GATHER": 6, "GELU": 2, "GREATER": 2, "GREATER_EQUAL": 3, "HARD_SWISH": 1, "LESS": 3,
    "LESS_EQUAL": 2, "LOG": 1, "LOGICAL_AND": 1, "LOGICAL_NOT": 1, "LOGICAL_OR": 1, "LOGISTIC": 3,
    "MAXIMUM": 4, "MEAN": 3, "MINIMUM": 4, "MUL": 7, "NEG": 1, "NOT_EQUAL": 3,
    "PAD": 4, "POW": 1, "QUANTIZE": 3,
    "REDUCE_MAX": 3, "RELU": 3, "RESHAPE": 1, "ROUND": 1, "RSQRT": 2, "SELECT_V2": 2, "SIGN": 2,
    "SIN": 1, "SLICE": 6, "SOFTMAX": 3, "SPLIT": 4, "SPLIT_V": 2, "SQRT": 1,
    "STRIDED_SLICE": 8, "SUB": 5, "SUM": 2, "TANH": 3, "TRANSPOSE": 6,
}  # fmt: skip
"""Newest version of each operator that 2.14 loads: asked of it, one by one, with rising versions.

What is missing here has not been asked for."""


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = ONE_FILE_BYTES,
) -> list[str]:
    """Write the artifact; return the names of its files. More than `one_file_bytes` is an error."""
    from edgecompile.tflite.write_file import write_file

    return write_file(model, folder, metadata, one_file_bytes, NEWEST)


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact in the runtime's own environment.

    `one_pool` makes no difference: no thread spins.
    """
    from edgecompile.tflite.worker import open_worker

    del one_pool
    return open_worker(artifact, threads)


def runtime_version() -> str:
    """Return the version of the runtime in its environment, which is made if need be."""
    from edgecompile.tflite.worker import version

    return version()
