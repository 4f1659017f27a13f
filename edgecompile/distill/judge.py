"""How near the student is to the teacher on samples that do not train, as the gate would say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgecompile.distill.batches import MASK, Batch, Samples, in_batches
from edgecompile.evaluate.accuracy import Accuracy, compare, metric_of
from edgecompile.graph import FloatArray

Run = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Judge:
    """The teacher's answers to the samples kept apart, and the mean squares of its tensors."""

    samples: Samples
    batch: int
    device: torch.device
    outputs: Sequence[str]
    expected: Sequence[Sequence[FloatArray]]
    scales: Mapping[str, float]

    @property
    def metric(self) -> str:
        """Return what is measured: "cosine", "agreement", ..."""
        return metric_of(self.outputs, self.expected[0])

    def score(self, student: Run) -> Accuracy:
        """Compare the student's answers with the teacher's."""
        answers, _ = _ask(student, self.samples, self.batch, self.device, self.outputs)
        return compare(self.metric, answers, self.expected, self.samples.feeds, self.outputs)


def open_judge(
    teacher: Run, samples: Samples, batch: int, device: torch.device, outputs: Sequence[str]
) -> Judge:
    """Ask the teacher once."""
    expected, scales = _ask(teacher, samples, batch, device, outputs)
    return Judge(samples, batch, device, outputs, expected, scales)


def to_torch(batch: Batch, device: torch.device) -> dict[str, Tensor]:
    """Return a batch's inputs on a device."""
    return {
        n: torch.from_numpy(np.ascontiguousarray(a)).to(device) for n, a in batch.inputs.items()
    }


@torch.no_grad()  # type: ignore[untyped-decorator]
def _ask(
    run: Run, samples: Samples, size: int, device: torch.device, outputs: Sequence[str]
) -> tuple[list[list[FloatArray]], dict[str, float]]:
    """Return each sample's outputs, without padding, and the mean square of each float tensor."""
    answers: list[list[FloatArray]] = [[] for _ in samples.feeds]
    sums: dict[str, list[float]] = {}
    for numbers, batch in in_batches(samples, size):
        inputs = to_torch(batch, device)
        given = run(inputs)
        mask = inputs.get(MASK)
        for name, tensor in given.items():
            if tensor.is_floating_point():
                total = sums.setdefault(name, [0.0, 0.0])
                padded = mask is not None and tensor.shape[:2] == mask.shape and tensor.ndim > 2
                rows = tensor[mask == 1] if padded else tensor
                total[0] += float(rows.double().square().sum())
                total[1] += rows.numel()
        for row, number in enumerate(numbers):
            feed = samples.feeds[number]
            length = feed[MASK].shape[1] if MASK in feed else None
            for name in outputs:
                array = given[name][row : row + 1].cpu().numpy()
                cut = mask is not None and array.ndim > 2 and array.shape[1] == mask.shape[1]
                answers[number].append(array[:, :length] if cut else array)
    return answers, {name: total / max(count, 1) for name, (total, count) in sums.items()}
