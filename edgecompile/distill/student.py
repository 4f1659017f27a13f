"""The student as it is trained: its graph, module and optimizer, and all of that as tensors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from edgecompile.distill.workers import Workers
from edgecompile.errors import DistillError
from edgecompile.torch_graph.graph_module import GraphModule, reached

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's running means of the gradient and of its square."""


@dataclass(frozen=True, slots=True)
class Student:
    """A graph under training; `module` is `plain` as all processes train it together."""

    graph: ir.Model
    plain: GraphModule
    module: nn.Module
    optimizer: torch.optim.Optimizer
    workers: Workers

    @property
    def weights(self) -> dict[str, nn.Parameter]:
        """Return what is trained, by name."""
        return {n: p for n, p in self.plain.weights().items() if p.requires_grad}

    def tensors(self) -> dict[str, Tensor]:
        """Return weights and moments, whole, on the CPU; all processes must ask."""
        found = {}
        for name, weight in self.weights.items():
            found[f"weight:{name}"] = self.workers.whole(weight)
            state = self.optimizer.state.get(weight, {})
            for key in MOMENTS:
                if key in state:
                    found[f"{key}:{name}"] = self.workers.whole(state[key])
        return found

    def values(self) -> dict[str, Tensor]:
        """Return a copy of the weights, whole, on the CPU."""
        return {n: self.workers.whole(w).clone() for n, w in self.weights.items()}

    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Go back to tensors of `tensors()`, after so many updates of the optimizer."""
        for name, weight in self.weights.items():
            keys = [f"weight:{name}", *(f"{key}:{name}" for key in MOMENTS if updates)]
            missing = [k for k in keys if k not in tensors or tensors[k].shape != weight.shape]
            if missing:
                msg = f"the checkpoint does not fit this student: {missing[0]}; give --restart"
                raise DistillError(msg)
            with torch.no_grad():
                weight.copy_(self.workers.share(tensors[keys[0]], weight))
            if updates:
                state: dict[str, Any] = {"step": torch.tensor(float(updates), device=weight.device)}
                for key in MOMENTS:
                    state[key] = self.workers.share(tensors[f"{key}:{name}"], weight).clone()
                self.optimizer.state[weight] = state


def open_student(
    graph: ir.Model, plain: GraphModule, compared: list[str], workers: Workers, decay: float
) -> Student:
    """Make the optimizer; a weight that no compared tensor depends on stays as it is.

    Vectors (biases, LayerNormalizations) do not decay.
    """
    used = reached(graph.graph, compared)
    for name, weight in plain.weights().items():
        weight.requires_grad_(name in used)
    module = workers.spread(plain)
    trained = [p for p in plain.weights().values() if p.requires_grad]
    if not trained:
        msg = "the student has no weight that the losses of [distill] depend on"
        raise DistillError(msg)
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], fused=True)
    return Student(graph, plain, module, optimizer, workers)
