"""What the exporters' tests share: random weights, padded inputs, the way through the pipeline."""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import passes, pipeline
from edgecompile.graph import linears, op_histogram
from edgecompile.plan import FLOAT
from edgecompile.prepare import Prepared
from edgecompile.probe import take_probe
from edgecompile.session import session
from edgecompile.target import REFERENCE

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
FIRST_WORD = 6
"""Smaller ids are special tokens."""
TORCH_SAYS = (
    "You are using the legacy TorchScript-based ONNX export",
    "The feature will be removed. Please remove usage of this function",
    "torch.tensor results are registered as constants in the trace",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "# The axis name: . will not be used, since it shares the same shape constraints",
)
"""Beginnings of the warnings that torch's exporters give about themselves."""


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """Return the list that gets a row a graph: the table of architectures in the docs."""
    return []


@pytest.fixture(scope="session")
def describe() -> Callable[..., dict[str, Any]]:
    """Return a function that says what was recognised in a graph and what became int8.

    It fails where a Linear is float in the lowered graph and the plan does not say why.
    """

    def make(name: str, prepared: Prepared, lowered: ir.Model) -> dict[str, Any]:
        counts = op_histogram(prepared.model.graph)
        kept = prepared.plan.kept_float
        silent = [linear.name for linear in linears(lowered.graph) if linear.name not in kept]
        assert not silent
        names = [linear.name for linear in linears(prepared.model.graph)]
        columns = ("Attention", "Softmax", "LayerNormalization", "Gelu", "Conv")
        return {
            "architecture": name,
            "part": prepared.part.name,
            "route": prepared.source.route,
            "nodes": (len(prepared.part.model.graph), len(prepared.model.graph)),
            **{op: counts.get(op, 0) for op in columns},
            "int8": len([n for n in names if n not in kept]),
            "float": len([n for n in names if n in kept]),
            "why": sorted({kept[n] for n in names if n in kept}),
        }

    return make


@pytest.fixture(scope="session")
def randomise() -> Callable[..., Any]:
    """Return a function that gives a torch module weights under which every layer matters.

    As transformers initialises them, scores lie so near 0 that no test could tell one scale, mask
    or activation from another.
    """
    import torch

    def change(module: Any, gain: float = 1.5) -> Any:
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                noise = torch.randn(parameter.shape, generator=random)
                if parameter.ndim > 1 and "embed" in name:
                    parameter.copy_(noise)
                elif parameter.ndim > 1:
                    parameter.copy_(noise * gain / parameter.shape[-1] ** 0.5)
                else:
                    parameter.copy_(0.2 * noise + (name.endswith("orm.weight")))
        return module.eval()

    return change


@pytest.fixture(scope="session")
def feed() -> Callable[..., Feed]:
    """Return a function that makes random inputs [B, S], every row but the first one padded."""

    def make(
        batch: int, sequence: int, *, names: Sequence[str] = INPUTS, words: int = 120, pad: int = 0
    ) -> Feed:
        random = np.random.default_rng(100 * batch + sequence)
        mask = np.ones((batch, sequence), np.int64)
        for row in range(1, batch):
            mask[row, max(1, sequence - row * max(1, sequence // 4)) :] = 0
        ids = np.where(mask == 1, random.integers(FIRST_WORD, words, mask.shape), pad)
        kinds = (np.arange(sequence) >= sequence // 2) * np.ones_like(mask)
        arrays = dict(zip(INPUTS, (ids, mask, kinds.astype(np.int64)), strict=True))
        return {name: arrays[name] for name in names}

    return make


@pytest.fixture(scope="session")
def recognise() -> Callable[[ir.Model], ir.Model]:
    """Return the canonicalise stage: what the pipeline does with every foreign graph."""

    def run(model: ir.Model) -> ir.Model:
        context = {"probe": take_probe(model)}
        for _step, after in passes.run(passes.passes_of("canonicalise"), model, context):
            model = after
        return model

    return run


@pytest.fixture(scope="session")
def answer() -> Callable[..., Callable[[Feed], list[Array]]]:
    """Return a function canonical graph -> runner of the float reference on a feed.

    A feed may hold more inputs than the graph has.
    """

    def prepare(model: ir.Model) -> Callable[[Feed], list[Array]]:
        opened = session(pipeline.lower(model, FLOAT, REFERENCE))
        names = [str(value.name) for value in model.graph.inputs]
        return lambda feed: opened.run(None, {name: feed[name] for name in names})

    return prepare


@pytest.fixture(scope="session")
def ask() -> Callable[[Any, Feed], Array]:
    """Return a function torch module, feed -> its first output."""
    import torch

    def run(module: Any, feed: Feed) -> Array:
        with torch.no_grad():
            found = module(**{name: torch.from_numpy(array) for name, array in feed.items()})
        array: Array = (found if isinstance(found, torch.Tensor) else found[0]).numpy()
        return array

    return run


@pytest.fixture(scope="session")
def same() -> Callable[[Array, Array, Feed, float], None]:
    """Return a check that two outputs are equal on all tokens that are not padding."""

    def check(found: Array, wanted: Array, feed: Feed, tolerance: float) -> None:
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        valid = feed["attention_mask"] == 1
        if wanted.ndim == 3:
            found, wanted = found[valid], wanted[valid]
        size = max(1.0, float(np.sqrt(np.square(wanted).mean())))
        assert np.abs(found - wanted).max() <= tolerance * size

    return check


@pytest.fixture(scope="session")
def export_torch() -> Callable[..., Path]:
    """Return a function that writes a torch module of named inputs to an .onnx file.

    `exporter` is "legacy" or "dynamo"; `fixed` holds the axes that keep their size, 2 and 8.
    """
    import torch

    def write(
        module: Any,
        path: Path,
        exporter: str,
        opset: int,
        *,
        names: Sequence[str] = INPUTS,
        output: str = "hidden",
        fixed: Sequence[int] = (),
        longest: int = 96,
    ) -> Path:
        ids = torch.arange(10, 26).reshape(2, 8)
        arrays = (ids, torch.ones_like(ids), torch.zeros_like(ids))
        example = tuple(dict(zip(INPUTS, arrays, strict=True))[name] for name in names)
        shared: dict[str, Any] = {"input_names": [*names], "output_names": [output]}
        if exporter == "legacy":
            labels = {axis: name for axis, name in enumerate("bs") if axis not in fixed}
            shared["dynamic_axes"] = dict.fromkeys(names, labels) if labels else None
        else:
            sizes = {0: torch.export.Dim("b"), 1: torch.export.Dim("s", max=longest)}
            sizes = {axis: size for axis, size in sizes.items() if axis not in fixed}
            shared |= {"dynamic_shapes": dict.fromkeys(names, sizes), "verbose": False}
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            for message in TORCH_SAYS:
                warnings.filterwarnings("ignore", message)
            torch.onnx.export(
                module, example, path, dynamo=exporter == "dynamo", opset_version=opset, **shared
            )
        return path

    return write
