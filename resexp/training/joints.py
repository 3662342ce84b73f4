"""Joints as heat maps and back: what a net is to give, what it found, how near that is, and what a guess would find.

A heat map of a joint is a Gaussian of height 1 and a deviation of one of its own pixels around the joint. Its pixel
(row, column) lies over a square of the picture whose sides are `shrinking` pixels; places are x to the right and y
down, in pixels of the picture, from its upper left corner.

A joint is found at the maximum of its map, from there a quarter of a map's pixel towards the larger neighbour in each
direction.

Source: Newell et al. 2016, section 3.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from resexp.training.objective import Objective

LossName = Literal["cross-entropy", "squared-error"]


def heat_maps(places: Tensor, side: int, shrinking: int) -> Tensor:
    """What is right for joints at places (..., 2): maps (..., side, side)."""
    centres = torch.arange(side, dtype=places.dtype, device=places.device) + 0.5
    x, y = (torch.exp(-(centres - at[..., None] / shrinking).square() / 2) for at in places.unbind(-1))
    return y[..., :, None] * x[..., None, :]


def located(maps: Tensor, shrinking: int) -> Tensor:
    """Places (..., 2) of the joints of these maps (..., side, side)."""
    side = maps.shape[-1]
    highest = maps.flatten(-2).argmax(-1)  # (...)
    row, column = highest // side, highest % side
    steps = []
    for at, of_line in ((column, _line(maps, row)), (row, _line(maps.transpose(-1, -2), column))):
        after = of_line.take_along_dim((at + 1).clamp(max=side - 1)[..., None], -1)[..., 0]
        before = of_line.take_along_dim((at - 1).clamp(min=0)[..., None], -1)[..., 0]
        inside = (at > 0) & (at < side - 1)
        steps.append(at + 0.5 + 0.25 * torch.sign(after - before) * inside)
    return shrinking * torch.stack(steps, -1)


def _line(maps: Tensor, row: Tensor) -> Tensor:
    """A row of each map, (..., side)."""
    return maps.take_along_dim(row[..., None, None], -2)[..., 0, :]


def correct(found: Tensor, places: Tensor, within: float) -> Tensor:
    """Whether each joint was found within so many pixels, (...); found and places (..., 2)."""
    near: Tensor = (found - places).norm(dim=-1) <= within
    return near


@dataclass(frozen=True)
class HeatMaps:
    """How nets that give heat maps after each of several stacks are trained; outputs (..., side, side, stacks)."""

    shrinking: int
    within: float
    kind: LossName = "cross-entropy"

    def loss(self, outputs: Tensor, places: Tensor) -> Tensor:
        """Summed over stacks, each held to the same maps, mean over joints, (nets,).

        Cross-entropy, nats, of where in its map a joint is; or squared error, summed over a map.
        """
        wanted = heat_maps(places, outputs.shape[-2], self.shrinking).flatten(3)[..., None]
        given = outputs.flatten(3, 4).to(torch.promote_types(outputs.dtype, torch.float32))  # (..., pixels, stacks)
        if self.kind == "squared-error":
            each = (given - wanted).square().sum(3)
        else:
            each = -(wanted / wanted.sum(3, keepdim=True) * given.log_softmax(3)).sum(3)
        return each.sum(-1).mean((0, 2))

    def error(self, outputs: Tensor, places: Tensor) -> Tensor:
        """Share of joints that the last stack does not find."""
        return 1 - correct(located(outputs[..., -1], self.shrinking), places, self.within).double().mean((0, 2))

    def brightness(self, maps: Tensor) -> Tensor:
        """Maps (..., side, side) as pictures: 1 at the maximum of a distribution, or at the height of a Gaussian."""
        return maps.clamp(0, 1) if self.kind == "squared-error" else (maps - maps.amax((-2, -1), keepdim=True)).exp()

    @property
    def objective(self) -> Objective:
        """Both."""
        return Objective(self.loss, self.error)


def best_guess(places: Tensor, side: int, within: float) -> Tensor:
    """The pixel's centre near which each joint lies most often, (joints, 2); places (images, joints, 2)."""
    at = torch.arange(side, dtype=places.dtype, device=places.device) + 0.5
    x, y = ((at[:, None, None] - of).square() for of in places.unbind(-1))  # (side, images, joints)
    reached = torch.stack([(x + line <= within**2).sum(1) for line in y])  # (side, side, joints): y, x
    best = reached.flatten(0, 1).argmax(0)  # (joints,)
    return torch.stack([at[best % side], at[best // side]], -1)
