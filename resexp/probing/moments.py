"""Moments of a tensor as Python floats, where float32 squares would leave its range too."""

from dataclasses import dataclass

import torch
from torch import Tensor

SAFE = 1e15
"""Norms beyond this, or below its inverse, are taken again after scaling: float32 may not hold their squares."""


@dataclass(frozen=True, slots=True)
class Moments:
    """second: mean square over all units and examples; batch_variance: variance over the batch, mean over units."""

    second: float
    batch_variance: float


def second_moment(x: Tensor) -> float:
    """Mean of the squares; nan or inf where x has them."""
    with torch.no_grad():
        x = x.detach()
        norm = float(torch.linalg.vector_norm(x, dtype=wide(x)))
        if 1 / SAFE < norm < SAFE or norm != norm or not x.numel():
            return norm * norm / max(x.numel(), 1)
        low, high = torch.aminmax(x)
        largest = max(-float(low), float(high))
        if largest in {0.0, float("inf")}:
            return largest
        norm = float(torch.linalg.vector_norm(x.to(wide(x)) / largest)) * largest
        return norm * norm / x.numel()


def moments(x: Tensor, batch_axis: int | None) -> Moments:
    """Both moments; the batch variance is nan where there is no batch axis, or one example."""
    second = second_moment(x)
    if batch_axis is None or x.shape[batch_axis] < 2:
        return Moments(second, float("nan"))
    with torch.no_grad():
        mean = x.detach().mean(batch_axis, dtype=wide(x))
        common = second_moment(mean)
        if second - common > 1e-3 * second or not second < float("inf"):
            return Moments(second, second - common)
        return Moments(second, second_moment(x.detach() - mean.unsqueeze(batch_axis)))


def batch_axis_of(x: Tensor, batch: int) -> int | None:
    """The axis of the batch: the first of that size among the first two; else the first, if it holds the batch."""
    for axis in range(min(2, x.dim() - 1)):
        if x.shape[axis] == batch:
            return axis
    return 0 if x.dim() > 1 and x.shape[0] % batch == 0 else None


def wide(x: Tensor) -> torch.dtype:
    """The type to sum squares in."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
