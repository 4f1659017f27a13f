"""What training makes small: how far the student's tensors are from the teacher's.

Each loss is a mean over samples of a mean over a sample's valid tokens, so that it does not matter
how samples are spread over processes.

    outputs    1 - cosine + MSE / the teacher's mean square; of logits T^2 KL(teacher || student)
               at temperature T (Hinton et al. 2015, section 2)
    hidden     MSE / mean square of the residual stream's states, mean over the states
    attention  the same for what each attention adds to the stream
    labels     cross-entropy of the logits
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from edgecompile.distill.pairs import Pairs
from edgecompile.evaluate.accuracy import LOGITS

SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each loss; 0 leaves it out."""

    outputs: float
    hidden: float
    attention: float
    labels: float
    temperature: float


@dataclass(frozen=True, slots=True)
class Target:
    """What a batch is compared with: the teacher's tensors, mask [B, S], labels [B].

    `scales` are the teacher's mean squares, by tensor, on the samples kept apart.
    """

    tensors: Mapping[str, Tensor]
    scales: Mapping[str, float]
    mask: Tensor | None
    labels: Tensor | None


def compared(pairs: Pairs, weights: Weights) -> list[str]:
    """Return the tensors that some loss looks at."""
    names: list[str] = []
    if weights.outputs:
        names += pairs.outputs
    elif weights.labels:
        names.append(LOGITS)
    names += pairs.hidden if weights.hidden else ()
    names += pairs.attention if weights.attention else ()
    return list(dict.fromkeys(names))


def losses(
    given: Mapping[str, Tensor], target: Target, pairs: Pairs, weights: Weights
) -> dict[str, Tensor]:
    """Return each loss, its weight left out, by name."""
    found: dict[str, Tensor] = {}
    if weights.outputs:
        found["outputs"] = _mean(
            [_output(n, given[n], target, weights.temperature) for n in pairs.outputs]
        )
    for kind, names in (("hidden", pairs.hidden), ("attention", pairs.attention)):
        if getattr(weights, kind) and names:
            found[kind] = _mean([_distance(given[n], target, n) for n in names])
    if weights.labels and target.labels is not None:
        found["labels"] = functional.cross_entropy(given[LOGITS], target.labels)
    return found


def total(found: Mapping[str, Tensor], weights: Weights) -> Tensor:
    """Return the weighted sum."""
    return sum(getattr(weights, name) * loss for name, loss in found.items())


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean()


def _output(name: str, given: Tensor, target: Target, temperature: float) -> Tensor:
    truth = target.tensors[name]
    if name == LOGITS and given.shape[-1] > 1:
        student, teacher = ((x / temperature).log_softmax(-1) for x in (given, truth))
        divergence = (teacher.exp() * (teacher - student)).sum(-1)
        return temperature**2 * _over_tokens(divergence, target.mask)
    distance = _distance(given, target, name)
    if given.ndim < 2 or given.shape[-1] == 1:
        return distance
    return distance + _over_tokens(1 - functional.cosine_similarity(given, truth, -1), target.mask)


def _distance(given: Tensor, target: Target, name: str) -> Tensor:
    error = (given - target.tensors[name]).square()
    error = error.mean(-1) if error.ndim > 1 else error
    return _over_tokens(error, target.mask) / max(target.scales[name], SMALLEST)


def _over_tokens(values: Tensor, mask: Tensor | None) -> Tensor:
    """[B, S] or [B, ...] -> the mean over samples of the mean over valid tokens."""
    if mask is None or values.shape != mask.shape:
        return values.mean()
    share = mask / mask.sum(1, keepdim=True)
    return (values * share).sum(1).mean()
