"""The way that the weights of a net went while it was trained.

Source: Li et al. 2018, section 7.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resexp.training.fit import Moment


def watch_weights(moment: Moment) -> Mapping[str, Tensor]:
    """All parameters of each net behind each other, `weights` (nets, parameters)."""
    links = [link for link in moment.net.links if isinstance(link.joined, nn.Parameter)]
    nets = range(moment.net.count)
    return {"weights": torch.stack([torch.cat([link.of(n).flatten() for link in links]) for n in nets])}


@dataclass(frozen=True)
class Trajectory:
    """The plane in which a training moved most.

    directions: (2, parameters), orthonormal; places: (epochs + 1, 2) of the weights in the plane, the last at 0;
    explained: (2,) share of the squared distances from the last weights that lies along each.
    """

    directions: Tensor
    places: Tensor
    explained: Tensor

    @classmethod
    def of(cls, weights: Tensor) -> "Trajectory":
        """Principal components of the weights (epochs + 1, parameters) about the last ones, as Li et al. took them."""
        moved = (weights[:-1] - weights[-1]).double()
        size, vectors = torch.linalg.eigh(moved @ moved.T)  # (epochs,), few; the parameters are many
        size = size.clamp(min=0)
        directions = vectors[:, -2:].T.flip(0) @ moved
        directions = directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-300)
        directions = directions * directions.sum(1, keepdim=True).sign()
        places = torch.cat([moved, torch.zeros_like(moved[:1])]) @ directions.T
        return cls(directions.to(weights.dtype), places, size[-2:].flip(0) / size.sum())
