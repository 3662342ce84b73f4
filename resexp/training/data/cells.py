"""Synthetic microscopy: ellipses, some brighter than the ground and some darker, that touch, under noise.

inputs    (images, 1, height + 2 border, width + 2 border), mean 0 and variance 1: a net without padding loses the
border, and what lies beyond the picture's edge is its mirror image (Ronneberger et al. 2015)
targets   (images, height, width), 1 inside a cell, 0 outside; pixels about as near to one cell as to another are
outside, so that cells that touch stay apart
"""

import torch
from torch import Tensor

from resexp.core.lab import Lab
from resexp.training.data.dataset import Data, Examples

DENSITY = 0.008
"""Cells a pixel."""
RADII = (3.0, 6.5)
GAP = 0.3
"""Difference of the distances to two cells, in their radii, below which a pixel belongs to neither."""
NOISE = 0.12


def draw(height: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A picture (height, width), values about 0 to 1, and its cells (height, width), 1 and 0."""

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator)

    count = max(2, round(DENSITY * height * width))
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    dy = y - uniform(0, height, count)[:, None, None]  # (cells, height, width)
    dx = x - uniform(0, width, count)[:, None, None]
    angle = uniform(0, torch.pi, count)[:, None, None]
    long, short = (uniform(*RADII, count)[:, None, None] for _ in range(2))
    along, across = dx * angle.cos() + dy * angle.sin(), dy * angle.cos() - dx * angle.sin()
    distance = ((along / long).square() + (across / short).square()).sqrt()
    (nearest, second), (cell, _) = distance.topk(2, dim=0, largest=False)
    inside = (nearest < 1) & (second - nearest > GAP)
    is_bright = torch.rand(count, generator=generator) < 0.5
    value = torch.where(is_bright, uniform(0.7, 0.95, count), uniform(0.05, 0.3, count))
    ground = 0.5 + 0.1 * torch.sin(uniform(0.05, 0.15, 1) * x + uniform(0.05, 0.15, 1) * y + uniform(0, 6.28, 1))
    picture = torch.where(inside, value[cell] + 0.15 * (nearest - 0.5), ground)
    return picture + NOISE * torch.randn(height, width, generator=generator), inside.long()


def mirrored(pictures: Tensor, border: int, down: int = 0, right: int = 0) -> Tensor:
    """Pictures (..., height, width) with so many pixels more at each edge, and still more below and to the right.

    What is beyond an edge is the mirror image, and beyond that the mirror image of it, for ever.
    """
    for dimension, more in ((-2, down), (-1, right)):
        size = pictures.shape[dimension]
        places = torch.arange(-border, size + border + more, device=pictures.device) % max(1, 2 * size - 2)
        pictures = pictures.index_select(dimension, torch.minimum(places, 2 * size - 2 - places).clamp(min=0))
    return pictures


def standardised(picture: Tensor) -> Tensor:
    """The values of a picture about 0, on one scale for all."""
    return (picture - 0.5) / 0.35


def cells(lab: Lab, *, train: int, test: int, side: int, border: int) -> Data:
    """So many square pictures of that side; their random numbers are keyed by the lab."""
    parts = []
    for purpose, count in (("cells train", train), ("cells test", test)):
        drawn = [draw(side, side, torch.Generator().manual_seed(lab.key(purpose, n) % 2**63)) for n in range(count)]
        pictures, masks = (torch.stack(some) for some in zip(*drawn, strict=True))
        parts.append(Examples(mirrored(standardised(pictures), border)[:, None], masks))
    return Data("cells", parts[0], parts[1], classes=2)
