"""What is made small, and what is counted as wrong, of several nets at once."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from resexp.training.data.dataset import Examples
from resexp.training.modes import evaluating
from resexp.training.side_by_side import SideBySide

Measure = Callable[[Tensor, Tensor], Tensor]
"""From outputs (batch, nets, *output) and targets (batch, nets, ...) to (nets,), means over the batch."""

CHUNK = 1024


@dataclass(frozen=True)
class Objective:
    """loss: what is made small; error: what is reported beside it, nan where there is none."""

    loss: Measure
    error: Measure


def classification(label_smoothing: float = 0.0) -> Objective:
    """Cross-entropy, nats, and the share of examples, or of pixels, whose class is not the most probable one.

    outputs: (batch, nets, classes, *space); targets: (batch, nets, *space), whole numbers.
    """

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        shape = outputs.shape[:2]
        each = cross_entropy(
            outputs.flatten(0, 1).to(torch.promote_types(outputs.dtype, torch.float32)),
            targets.flatten(0, 1),
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return torch.unflatten(each, 0, shape).flatten(2).mean((0, 2)) if each.dim() > 1 else each.view(shape).mean(0)

    return Objective(loss, share_wrong)


def share_wrong(outputs: Tensor, targets: Tensor) -> Tensor:
    """Share of examples or pixels, (nets,), whose class is not the most probable one."""
    wrong = (outputs.argmax(2) != targets).to(torch.float32)  # (batch, nets, *space)
    return wrong.flatten(2).mean((0, 2)) if wrong.dim() > 2 else wrong.mean(0)


def regression() -> Objective:
    """Mean squared error over outputs and examples; no error beside it."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().flatten(2).mean((0, 2))

    return Objective(loss, lambda outputs, _: outputs.new_full((outputs.shape[1],), torch.nan))


@torch.no_grad()
def evaluate(
    net: SideBySide, examples: Examples, objective: Objective, *, batch_statistics: bool = False
) -> tuple[Tensor, Tensor]:
    """Loss and error, (nets,) float64 each, in evaluation mode; modes and buffers are as they were afterwards.

    batch_statistics: batch normalisation by the statistics of the examples themselves, 1,024 at a time.
    """
    total = torch.zeros(2, net.count, dtype=torch.float64, device=examples.inputs.device)
    with evaluating(net, batch_statistics=batch_statistics):
        for first in range(0, len(examples), CHUNK):
            part = examples.take(slice(first, first + CHUNK))
            x, y = (t.unsqueeze(1).expand(-1, net.count, *t.shape[1:]) for t in (part.inputs, part.targets))
            outputs = net(x)
            total += torch.stack([objective.loss(outputs, y), objective.error(outputs, y)]).double() * len(part)
    loss, error = total / len(examples)
    return loss, error
