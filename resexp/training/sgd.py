"""Stochastic gradient descent with momentum and L2 decay, each net with its own learning rate if need be.

    v <- momentum v + g + decay w,    w <- w - rate v

Source: Sutskever et al. 2013, in the form of torch.optim.SGD, which it equals bit for bit where all rates are one.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from resexp.training.plan import Plan
from resexp.training.side_by_side import Link, SideBySide


class SGD:
    """Momentum and decay of a plan, for nets side by side. rates: the highest one of each net, or of all."""

    def __init__(self, net: SideBySide, plan: Plan, rates: tuple[float, ...] | float) -> None:
        links = [link for link in net.links if isinstance(link.joined, nn.Parameter) and link.joined.requires_grad]
        self.parameters = [link.joined for link in links]
        self.velocities = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._names = [link.name for link in links]
        self._decaying = [n for n, link in enumerate(links) if plan.decays(link.name, link.own[0].dim())]
        self._momentum, self._decay = plan.momentum, plan.weight_decay
        self._rate = rates if isinstance(rates, float | int) else 1.0
        self._rates = None if isinstance(rates, float | int) else [_along(link, rates) for link in links]

    @torch.no_grad()
    def step(self, factor: float) -> None:
        """One step at `factor` times the highest rates; gradients are forgotten."""
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        if self._decay and self._decaying:
            some, of = [gradients[n] for n in self._decaying], [self.parameters[n] for n in self._decaying]
            torch._foreach_add_(some, of, alpha=self._decay)
        torch._foreach_mul_(self.velocities, self._momentum)
        torch._foreach_add_(self.velocities, gradients)
        moves = self.velocities if self._rates is None else torch._foreach_mul(self.velocities, self._rates)
        torch._foreach_add_(self.parameters, moves, alpha=-factor * self._rate)
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {f"velocity/{name}": v for name, v in zip(self._names, self.velocities, strict=True)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        for name, velocity in zip(self._names, self.velocities, strict=True):
            velocity.copy_(state[f"velocity/{name}"])


def _along(link: Link, rates: tuple[float, ...]) -> Tensor:
    """Rate of each net, to be broadcast against the joined parameter."""
    joined = link.joined
    numbers = torch.tensor(rates, dtype=joined.dtype, device=joined.device)
    if len(rates) == 1:
        return numbers.squeeze(0)
    return numbers.repeat_interleave(len(joined) // len(rates)).view(-1, *[1] * (joined.dim() - 1))
