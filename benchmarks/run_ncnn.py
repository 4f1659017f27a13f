"""What runs on an emulated board for anchors.py: a network of ncnn, marked for the plugin.

    python run_ncnn.py WHEEL_FOLDER FILE.param EDGE

Weights are zeros, options are benchncnn's: the time of a network does not depend on its weights.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # under emulation nothing is installed

from edgecompile.counts.run_marked import BEGIN, END, mark

ON = (
    "lightmode", "use_winograd_convolution", "use_sgemm_convolution", "use_packing_layout",
    "use_int8_inference", "use_int8_storage", "use_int8_arithmetic", "use_fp16_packed",
    "use_fp16_storage", "use_fp16_arithmetic",
)  # fmt: skip


def main(folder: str, parameters: str, edge: str) -> None:
    """Run a network once, and once more between marks."""
    ncnn = open_ncnn(Path(folder))
    net = ncnn.Net()
    net.opt.num_threads = 1
    for name in ON:
        setattr(net.opt, name, True)
    if net.load_param(parameters) or net.load_model(ncnn.DataReaderFromEmpty()):
        sys.exit(f"{parameters}: ncnn does not load it")
    image = ncnn.Mat(int(edge), int(edge), 3)
    image.fill(0.01)
    run(net, image)
    mark(BEGIN)
    run(net, image)
    mark(END)


def run(net: Any, image: Any) -> None:
    """Compute the last tensor."""
    with net.create_extractor() as extractor:
        extractor.input("data", image)
        extractor.extract(net.output_names()[0])


def open_ncnn(folder: Path) -> Any:
    """Import the wheel's extension alone: its package wants OpenCV."""
    (file,) = (folder / "ncnn").glob("ncnn.*.so")
    spec = importlib.util.spec_from_file_location("ncnn.ncnn", file)
    if spec is None or spec.loader is None:
        sys.exit(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(*sys.argv[1:])
