"""MODEL on the command line -> the float graph, by the route that fits it."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.checkpoint import Config, read_config

if TYPE_CHECKING:
    import onnx_ir as ir

INSTALL = "pip install 'edgecompile[export]'"
INPUTS = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "modules.json",
    "*/config.json",
    "tokenizer.json",
    "preprocessor_config.json",
)

BESIDE = ("tokenizer.json", "preprocessor_config.json")
"""What the data of an .onnx file is read through."""


@dataclass(frozen=True, slots=True)
class Source:
    """A model on disk: where, by which route it is exported, and what its files are."""

    path: Path
    route: str
    config: Config | None = None

    @property
    def folder(self) -> Path:
        """Return the directory that the model lies in."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def name(self) -> str:
        """Return the model's name, for the bundle."""
        return Path(os.path.abspath(self.path)).name if self.path.is_dir() else self.path.stem  # noqa: PTH100

    @property
    def files(self) -> list[Path]:
        """Return the files that the graph and the tokens come from."""
        if self.route == "onnx":
            from edgecompile.export import onnx_file

            beside = [path for name in BESIDE if (path := self.folder / name).is_file()]
            return [self.path, *onnx_file.external_files(self.path), *beside]
        return sorted({path for pattern in INPUTS for path in self.folder.glob(pattern)})


def find_source(path: Path) -> Source:
    """Decide how a model is exported, without reading its weights."""
    if path.suffix == ".onnx":
        if not path.is_file():
            msg = f"{path}: no such file; give an .onnx file or a Hugging Face model directory"
            raise ModelError(msg)
        return Source(path, "onnx")
    if path.is_file():
        msg = f"{path}: not an .onnx file; give an .onnx file or a Hugging Face model directory"
        raise ModelError(msg)
    from edgecompile.export import native_config

    config = read_config(path)
    if not config.model_type:
        msg = f"{config.path}: key 'model_type' is missing; it names the architecture"
        raise ModelError(msg)
    reason = native_config.why_not(config)
    if reason is None:
        return Source(path, "native", config)
    if importlib.util.find_spec("optimum") is None:
        msg = f"{config.path}: {reason}; {INSTALL} for all others"
        raise UnsupportedError(msg)
    return Source(path, "optimum", config)


def export(source: Source) -> "ir.Model":
    """Export a model that is one graph; a foreign graph comes back as it is, not canonical yet."""
    graphs = export_parts(source)
    if list(graphs) != [""]:
        msg = f"{source.path}: exports to several graphs ({', '.join(graphs)}), one is wanted"
        raise UnsupportedError(msg)
    return graphs[""]


def export_parts(source: Source) -> "Mapping[str, ir.Model]":
    """Export a model: its graphs by name ("encoder", "decoder"); a single one has no name."""
    from edgecompile.export.fix_image_size import fix_image_size

    if source.route == "onnx":
        from edgecompile.export import onnx_file

        return {"": fix_image_size(onnx_file.read(source.path), source.folder)}
    if source.config is None:
        msg = f"{source.path}: a directory without config.json"
        raise ModelError(msg)
    if source.route == "native":
        from edgecompile.export import native

        return {"": native.export(source.path, source.config)}
    from edgecompile.export import optimum

    graphs = optimum.export(source.path, source.config)
    return {name: fix_image_size(graph, source.folder) for name, graph in graphs.items()}


def pooled(source: Source, model: "ir.Model") -> "ir.Model":
    """Append what modules.json asks for, where the exporter has not done so."""
    from edgecompile.export import pooling

    if source.route != "optimum" or (chain := pooling.read(source.path)) is None:
        return model
    model = model.clone()
    pooling.append(model.graph, model.graph.outputs[0], chain)
    return model


def routes() -> Mapping[str, str]:
    """Return what each route is, for help and docs."""
    return {
        "native": "config.json + safetensors, written with numpy and onnx_ir, no torch",
        "optimum": "any architecture of optimum-onnx, with torch",
        "onnx": "an .onnx file of any exporter",
    }
