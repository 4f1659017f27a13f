"""MODEL on the command line -> the float graph, by the route that fits it."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.checkpoint import Config, read_config

INSTALL = "pip install 'edgecompile[export]'"


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
        return self.path.absolute().name if self.path.is_dir() else self.path.stem

    def longest(self, limit: int) -> int:
        """Return how many tokens the model takes, at most `limit`; padding ids count off."""
        rows = self.config.values.get("max_position_embeddings") if self.config else None
        if not isinstance(rows, int) or self.config is None:
            return limit
        offset = self.config.model_type.endswith("roberta")
        taken = int(self.config.number("pad_token_id", 1)) + 1 if offset else 0
        return min(limit, rows - taken)

    @property
    def files(self) -> list[Path]:
        """Return the files that the graph and the tokens come from."""
        if self.route == "onnx":
            beside = sorted(self.folder.glob(f"{self.path.name}*"))
            return [*beside, *self.folder.glob("tokenizer.json")]
        patterns = (
            "config.json",
            "*.safetensors",
            "modules.json",
            "*/config.json",
            "tokenizer.json",
        )
        return sorted({path for pattern in patterns for path in self.folder.glob(pattern)})


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
    from edgecompile.export import native

    config = read_config(path)
    if native.knows(config):
        return Source(path, "native", config)
    if not config.model_type:
        msg = f"{config.path}: key 'model_type' is missing; it names the architecture"
        raise ModelError(msg)
    if importlib.util.find_spec("optimum") is None:
        what = " ".join(filter(None, (config.model_type, config.architecture)))
        msg = (
            f"{config.path}: architecture '{what}' is not among those exported without torch"
            f" ({', '.join(native.families())}); {INSTALL} for all others"
        )
        raise UnsupportedError(msg)
    return Source(path, "optimum", config)


def export(source: Source) -> ir.Model:
    """Export a model; a foreign graph comes back as it is, not canonical yet."""
    if source.route == "onnx":
        from edgecompile.export import onnx_file

        return onnx_file.read(source.path)
    if source.config is None:
        msg = f"{source.path}: a directory without config.json"
        raise ModelError(msg)
    if source.route == "native":
        from edgecompile.export import native

        return native.export(source.path, source.config)
    from edgecompile.export import optimum

    return optimum.export(source.path, source.config)


def pooled(source: Source, model: ir.Model) -> ir.Model:
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
