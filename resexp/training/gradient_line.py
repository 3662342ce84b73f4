"""How the loss and its gradient change along the gradient, at each step of a training.

    theta(s) = theta - s g,   g = gradient of the mini-batch's loss at theta,   s = each of the step lengths

    loss_range        largest - smallest loss at theta(s)
    gradient_range    largest - smallest |g(theta(s)) - g|, the range of the l2 distance of gradients
    beta_smoothness   largest |g(theta(s)) - g| / (s |g|), gradient change over distance

All of the same mini-batch, with its own statistics in batch normalisation. For a quadratic loss with Hessian A they are
known: the loss is loss - s g'g + s^2 g'Ag / 2, the distance s |Ag|, the smoothness |Ag| / |g|.

Source: Santurkar et al. 2018, section 3.2 and figure 4.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resexp.training.checkpoint import Checkpoint
from resexp.training.fit import Moment
from resexp.training.modes import keeping_buffers
from resexp.training.objective import Objective
from resexp.training.side_by_side import SideBySide

KEPT = "gradient-line/"
"""What the names of tensors begin with that a checkpoint keeps of it."""
MEASURES = ("loss_range", "gradient_range", "beta_smoothness")


class GradientLine:
    """A look of `fit` that measures along the gradient before each step; `found` has (steps, nets) of each measure.

    lengths: factors s of the gradient, ascending; steps: of the training; nets: how many there are in all. A number is
    nan where the net itself has diverged, and infinite where it has not, but left its dtype's range on the line.
    """

    def __init__(self, objective: Objective, lengths: Sequence[float], steps: int, nets: int) -> None:
        self.objective, self.lengths = objective, tuple(lengths)
        self.found = {name: torch.full((steps, nets), torch.nan, dtype=torch.float64) for name in MEASURES}

    def __call__(self, moment: Moment) -> None:
        """Measure; weights, gradients and buffers are as they were afterwards."""
        assert moment.inputs is not None
        assert moment.targets is not None
        assert moment.loss is not None
        losses, changes, slope = along_gradient(moment.net, moment.inputs, moment.targets, self.objective, self.lengths)
        moved = torch.tensor(self.lengths, dtype=torch.float64, device=slope.device)[:, None] * slope  # (lengths, nets)
        ranges = (values.amax(0) - values.amin(0) for values in (losses, changes))
        for name, value in zip(MEASURES, (*ranges, (changes / moved).amax(0)), strict=True):
            on_line = torch.where(value.isfinite(), value, torch.inf)
            self.found[name][moment.step, moment.nets] = torch.where(moment.loss.isfinite(), on_line, torch.nan).cpu()

    def checkpoint(self, inner: Checkpoint) -> "LineCheckpoint":
        """A checkpoint that keeps what is found beside the training, so that a killed run goes on with both."""
        return LineCheckpoint(inner.folder, inner.seldom, inner.started, found=self.found)


def along_gradient(
    net: SideBySide, inputs: Tensor, targets: Tensor, objective: Objective, lengths: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses and |g(theta(s)) - g|, (lengths, nets) each, and |g|, (nets,), float64; g is in the parameters' `grad`.

    inputs: (batch, nets, *shape).
    """
    parameters = [p for p in net.parameters() if p.grad is not None]
    gradients = [p.grad.clone() for p in parameters if p.grad is not None]
    losses, changes = [], []
    with _kept(net, parameters) as starts:
        for length in lengths:
            with torch.no_grad():
                for parameter, start, gradient in zip(parameters, starts, gradients, strict=True):
                    parameter.copy_(start - length * gradient)
            loss = objective.loss(net(inputs), targets)
            there = torch.autograd.grad(loss.sum(), parameters)
            losses.append(loss.detach().double())
            changes.append(_norms([b - a for a, b in zip(gradients, there, strict=True)], net.count))
    return torch.stack(losses), torch.stack(changes), _norms(gradients, net.count)


def _norms(tensors: Sequence[Tensor], nets: int) -> Tensor:
    """Norm of all tensors (nets * n, ...) behind each other, net by net, (nets,) float64."""
    squares = torch.stack([t.double().reshape(nets, -1).square().sum(1) for t in tensors])
    return squares.sum(0).sqrt()


@contextmanager
def _kept(net: nn.Module, parameters: Sequence[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Copies of the parameters, which are put back in the end, with the buffers."""
    starts = [parameter.detach().clone() for parameter in parameters]
    with keeping_buffers(net):
        try:
            yield starts
        finally:
            with torch.no_grad():
                for parameter, before in zip(parameters, starts, strict=True):
                    parameter.copy_(before)


@dataclass
class LineCheckpoint(Checkpoint):
    """A checkpoint of a training with what was found on the way. found: filled in when a checkpoint is read."""

    folder: Path
    found: dict[str, Tensor] = field(default_factory=dict, kw_only=True)

    def save(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Keep both. Raises ResexpError where the disk takes none."""
        super().save({**tensors, **{KEPT + name: value for name, value in self.found.items()}}, facts)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was kept of the training; what was found goes where it was. Raises DamagedCheckpointError."""
        kept = super().load()
        if kept is None:
            return None
        tensors, facts = kept
        for name, value in self.found.items():
            before = tensors.pop(KEPT + name)
            value.copy_(torch.where(before.isnan(), value, before))
        return tensors, facts

    def part(self, name: str) -> "LineCheckpoint":
        """The checkpoint of one of several trainings."""
        inner = super().part(name)
        return LineCheckpoint(inner.folder, inner.seldom, inner.started, found=self.found)
