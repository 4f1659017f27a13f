"""The processes that train together: one, or as many as torchrun or accelerate launch.

    parallel = "data"        each has the whole model and a share of each batch (DDP); gradients
                             travel as they are, in 16 bits, or as PowerSGD's two thin matrices
    parallel = "parameters"  each has a share of the weights and their moments too (FSDP)

Everything that is sent is sent by torch.distributed: gloo between CPUs, nccl between GPUs.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DDPCommunicationHookType,
    DistributedDataParallelKwargs,
    broadcast_object_list,
)
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from edgecompile.errors import DistillError
from edgecompile.recipe import DistillTable
from edgecompile.torch_graph.graph_module import GraphModule

HOOKS = {
    "none": DDPCommunicationHookType.NO,
    "fp16": DDPCommunicationHookType.FP16,
    "bf16": DDPCommunicationHookType.BF16,
    "powersgd": DDPCommunicationHookType.POWER_SGD,
}

POWERSGD = {"matrix_approximation_rank": 4, "start_powerSGD_iter": 20}
"""Ranks of the two matrices that stand for a gradient, and the steps that send it whole first."""
BUFFERS = "`broadcast_buffers` is deprecated"
"""Begins a warning of torch 2.13, which has no other way yet to send no constants at all."""
OUT_OF_PLACE = "FSDP2-wrapped module"
"""Begins a warning of what in-place operators would break; none of ours works in place."""


@dataclass(frozen=True, slots=True)
class Workers:
    """One process among those that train; the first says, prints and writes."""

    accelerator: Accelerator
    sharded: bool
    precision: str

    @property
    def rank(self) -> int:
        """Return this process's number."""
        return int(self.accelerator.process_index)

    @property
    def count(self) -> int:
        """Return how many processes there are."""
        return int(self.accelerator.num_processes)

    @property
    def first(self) -> bool:
        """Say whether this is process 0."""
        return self.rank == 0

    @property
    def device(self) -> torch.device:
        """Return the device that this process computes on."""
        return self.accelerator.device

    def spread(self, module: GraphModule) -> nn.Module:
        """Return the module as all processes train it."""
        module = module.to(self.device)
        if self.count == 1:
            return module
        if not self.sharded:
            warnings.filterwarnings("ignore", BUFFERS, FutureWarning)
            return self.accelerator.prepare_model(module)
        warnings.filterwarnings("ignore", OUT_OF_PLACE, UserWarning)
        for stretch in module.stretches:
            if stretch.names:
                fully_shard(stretch)
        return fully_shard(module)

    def autocast(self) -> AbstractContextManager[None]:
        """Multiply in the recipe's precision: twice as fast where the hardware has bf16."""
        mixed = self.precision == "bf16"
        context: AbstractContextManager[None] = torch.autocast(
            self.device.type, torch.bfloat16, enabled=mixed
        )
        return context

    def without_sync(self, module: nn.Module, *, last: bool) -> AbstractContextManager[None]:
        """Keep gradients here until the last of a step's batches."""
        if self.count == 1:
            return nullcontext()
        if isinstance(module, FSDPModule):
            module.set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else self.accelerator.no_sync(module)

    def whole(self, tensor: Tensor) -> Tensor:
        """Return a tensor that may be split, whole, on the CPU; all processes must ask."""
        found = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        return found.detach().cpu()

    def share(self, tensor: Tensor, like: Tensor) -> Tensor:
        """Return this process's share of a whole tensor, split as another one is."""
        if isinstance(like, DTensor):
            placed = tensor.to(like.device)
            return distribute_tensor(placed, like.device_mesh, like.placements)
        return tensor.to(like.device)

    def agree(self, value: Any) -> Any:
        """Return what process 0 has, so that all decide alike."""
        return broadcast_object_list([value])[0] if self.count > 1 else value

    def any_says(self, *, yes: bool) -> bool:
        """Say whether any process says yes."""
        if self.count == 1:
            return yes
        if yes:
            self.accelerator.set_trigger()
        return bool(self.accelerator.check_trigger())

    def slice(self, batch: Sequence[int]) -> Sequence[int]:
        """Return this process's share of a batch's samples: each gets short and long ones."""
        return batch[self.rank :: self.count]


def open_workers(table: DistillTable) -> Workers:
    """Join the processes that were launched, or stand alone."""
    hook = DistributedDataParallelKwargs(
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
        comm_hook=HOOKS[table.compress],
        comm_state_option=POWERSGD if table.compress == "powersgd" else {},
    )
    cpu = not torch.cuda.is_available()
    accelerator = Accelerator(cpu=cpu, kwargs_handlers=[hook])
    if cpu and accelerator.num_processes > 1 and table.compress == "bf16":
        msg = "[distill] compress: 'bf16' is nccl's, between GPUs; between CPUs 'fp16' works"
        raise DistillError(msg)
    return Workers(accelerator, table.parallel == "parameters", table.precision)


@contextmanager
def one_line(workers: Workers, where: str) -> Iterator[None]:
    """Say in one line that another process has ended, where torch.distributed only notices."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        msg = "the GPU's memory is full; lower [distill] batch and raise accumulate"
        raise DistillError(msg) from error
    except RuntimeError as error:
        if workers.count == 1:
            raise
        what = (str(error).strip().splitlines() or ["?"])[0][:160]
        msg = (
            f"process {workers.rank} of {workers.count} lost another one ({what}); start the same"
            f" command again: it goes on at the last checkpoint in {where}"
        )
        raise DistillError(msg) from error
