"""Products of the Hessian of a net's loss with vectors, by differentiating the gradient once more.

    H v = d/dtheta (g(theta)' v),   g the gradient of the mean loss over all examples

Exact but for rounding, at about four times the cost of a gradient. With the running statistics of batch normalisation,
or without it, an example's loss depends on no other, and examples are taken in chunks; with the statistics of the
examples themselves, which depend on the weights too, all of them are one batch.

Source: Pearlmutter 1994.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from resexp.training.data.dataset import Examples
from resexp.training.modes import evaluating, normalises_by_batch
from resexp.training.objective import Objective

CHUNK = 256
"""Examples whose products are taken at once where that changes nothing."""


class Hessian:
    """The Hessian of a net's loss at its weights, in the order of its parameters; the net is left as it was.

    net and examples: of one dtype, float64 unless rounding does not matter.
    """

    def __init__(self, net: nn.Module, examples: Examples, objective: Objective, *, batch_statistics: bool) -> None:
        self.net, self.objective, self.batch_statistics = net, objective, batch_statistics
        self.parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.size = sum(parameter.numel() for parameter in self.parameters)
        self._total = len(examples)
        by_itself = batch_statistics and any(map(normalises_by_batch, net.modules()))
        chunk = len(examples) if by_itself else CHUNK
        self._parts = [examples.take(slice(first, first + chunk)) for first in range(0, len(examples), chunk)]

    def gradient(self) -> Tensor:
        """The gradient (size,), float64."""
        with evaluating(self.net, batch_statistics=self.batch_statistics):
            return self._sum(_flat(torch.autograd.grad(self._loss(part), self.parameters)) for part in self._parts)

    def product(self, vector: Tensor) -> Tensor:
        """H v for v (size,), float64."""
        split = torch.split(vector.to(self.parameters[0].dtype), [p.numel() for p in self.parameters])
        direction = [part.view_as(parameter) for part, parameter in zip(split, self.parameters, strict=True)]
        with evaluating(self.net, batch_statistics=self.batch_statistics):
            return self._sum(self._of_part(part, direction) for part in self._parts)

    def _of_part(self, part: Examples, direction: Sequence[Tensor]) -> Tensor:
        gradients = torch.autograd.grad(self._loss(part), self.parameters, create_graph=True)
        along = torch.stack([(g * d).sum() for g, d in zip(gradients, direction, strict=True)]).sum()
        return _flat(torch.autograd.grad(along, self.parameters, materialize_grads=True))

    def _loss(self, part: Examples) -> Tensor:
        """The part's share of the mean loss."""
        outputs = self.net(part.inputs).unsqueeze(1)  # (batch, 1, classes)
        return self.objective.loss(outputs, part.targets.unsqueeze(1)).sum() * (len(part) / self._total)

    def _sum(self, parts: Iterator[Tensor]) -> Tensor:
        total = torch.zeros(self.size, dtype=torch.float64, device=self.parameters[0].device)
        for part in parts:
            total += part
        return total


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
