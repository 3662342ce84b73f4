"""Batch normalisation by hand, forward and backward (problem 11.7), over the first dimension of z (batch, units).

    m = mean z,   s^2 = mean (z - m)^2,   zhat = (z - m) / f5,   h = gamma zhat + delta

f5 is s + eps in equation 11.8 (`deviation`) and sqrt(s^2 + eps) in equation 11.10 (`root`). They differ when s is not
much larger than eps. The backward pass takes u = dL/dh:

    dL/dz = (gamma / f5) (u - mean u - ztilde mean(u zhat)),   dL/dgamma = sum u zhat,   dL/ddelta = sum u

with ztilde = zhat for `root` and (z - m) / s for `deviation`. At s = 0 that is 0/0: autograd gives nan, and here the
term is left out, as it is for `root`.

Source: Prince 2023, equations 11.7-11.10 and problem 11.7; Ioffe and Szegedy 2015.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

DividedBy = Literal["deviation", "root"]


@dataclass(frozen=True)
class Saved:
    """What the backward pass needs of the forward pass."""

    gamma: Tensor  # (units)
    f5: Tensor  # (units)
    zhat: Tensor  # (batch, units)
    ztilde: Tensor  # (batch, units)


def forward(z: Tensor, gamma: Tensor, delta: Tensor, eps: float, divided_by: DividedBy) -> tuple[Tensor, Saved]:
    """Normalised z (batch, units), and what `backward` needs."""
    centred = z - z.mean(0)
    variance = centred.square().mean(0)
    if divided_by == "root":
        f5 = (variance + eps).sqrt()
        zhat = ztilde = centred / f5
    else:
        s = variance.sqrt()
        f5 = s + eps
        zhat = centred / f5
        ztilde = torch.where(s > 0, centred / s, 0.0)
    return gamma * zhat + delta, Saved(gamma, f5, zhat, ztilde)


def backward(u: Tensor, saved: Saved) -> tuple[Tensor, Tensor, Tensor]:
    """dL/dz (batch, units), dL/dgamma (units) and dL/ddelta (units), from u = dL/dh (batch, units)."""
    along_zhat = (u * saved.zhat).mean(0)
    dz = saved.gamma / saved.f5 * (u - u.mean(0) - saved.ztilde * along_zhat)
    return dz, (u * saved.zhat).sum(0), u.sum(0)
