"""Synthetic people: stick figures that stand, lean and wave, seen from the front, among lines that belong to nobody.

inputs    (images, 1, side, side), mean about 0 and variance about 1
targets   (images, joints, 2), x to the right and y down of each joint, in pixels from the upper left corner

A figure's left is the picture's right. All joints lie inside the picture; one may be hidden by nothing but another
limb. Pixels are square and their centres lie half a pixel from their edges. Hands and feet are ends of lines alike, and
so are those of the lines around: which is which can be told only by what hangs together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from resexp.core.lab import Lab
from resexp.training.data.dataset import Data, Examples

JOINTS = (
    *("head", "neck", "hip"),
    *("left elbow", "left hand", "right elbow", "right hand"),
    *("left knee", "left foot", "right knee", "right foot"),
)
LIMBS = ((0, 1), (1, 2), (1, 3), (3, 4), (1, 5), (5, 6), (2, 7), (7, 8), (2, 9), (9, 10))
"""Joints, by number, that lines connect."""
STRAY = 3
"""Lines that are nobody's."""
MARGIN = 2.0
"""Pixels of 64 from a joint to the edge of the picture, at least."""
THICKNESS, HEAD = 2.0, 3.5
"""Of a line, and the radius of a head, in pixels of 64."""
NOISE = 0.15
SCALE = 0.25
"""Deviation of the pixels before they are divided by it, about."""


@dataclass(frozen=True)
class Drawing:
    """What pictures of one side are drawn with, from one stream of random numbers."""

    side: int
    generator: torch.Generator

    @property
    def unit(self) -> float:
        """Pixels that are one in a picture of 64."""
        return self.side / 64

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers between the two, (*shape)."""
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def joints(self) -> Tensor:
        """Places (joints, 2) of a figure: limbs at random angles, the whole at a random place inside the picture."""
        size, lean = float(self.uniform(0.7, 1.1)) * self.unit, float(self.uniform(-0.6, 0.6))
        hip = torch.zeros(2)
        neck = hip + step(lean + torch.pi, 16 * size)
        places = [neck + step(lean + torch.pi, 7 * size), neck, hip]
        for start, first, upper, lower, bend in (
            (neck, (0.3, 2.6), 9.0, 9.0, 1.4),
            (hip, (0.05, 0.9), 11.0, 11.0, 0.6),
        ):
            for outwards in (1.0, -1.0):  # the figure's left first
                angle = lean + outwards * float(self.uniform(*first))
                middle = start + step(angle, upper * size)
                end = middle + step(angle + float(self.uniform(-bend, bend)), lower * size)
                places += [middle, end]
        figure = torch.stack(places)  # (joints, 2)
        room = self.side - 2 * MARGIN * self.unit
        low, extent = figure.amin(0), figure.amax(0) - figure.amin(0)
        shrunk = min(1.0, room / float(extent.max()))
        return (
            MARGIN * self.unit
            + (figure - low) * shrunk
            + torch.rand(2, generator=self.generator) * (room - extent * shrunk)
        )

    def picture(self, joints: Tensor) -> Tensor:
        """The figure with these joints among stray lines, bright or dark, under noise, (side, side)."""
        stray = self.uniform(0, self.side, STRAY, 2)
        ends = stray + self.uniform(-14 * self.unit, 14 * self.unit, STRAY, 2)
        shape = torch.maximum(figure(joints, self.side), lines(stray, ends, self.side))
        sign = 1.0 if float(self.uniform(0, 1)) < 0.5 else -1.0
        contrast = float(self.uniform(0.6, 1.0))
        return sign * contrast * (shape - 0.15) + NOISE * torch.randn(self.side, self.side, generator=self.generator)


def step(angle: float, length: float) -> Tensor:
    """Where a limb ends that starts at 0: downwards at angle 0, to the picture's right at a quarter turn; (2,)."""
    turned = torch.tensor(angle)
    return length * torch.stack([turned.sin(), turned.cos()])


def figure(joints: Tensor, side: int) -> Tensor:
    """A figure with joints at these places (joints, 2), alone, 0 to 1, (side, side)."""
    body = lines(joints[[a for a, _ in LIMBS]], joints[[b for _, b in LIMBS]], side)
    to_head = (centres(side) - joints[0]).norm(dim=-1)
    return torch.maximum(body, (HEAD * side / 64 + 0.5 - to_head).clamp(0, 1))


def lines(starts: Tensor, ends: Tensor, side: int) -> Tensor:
    """Lines between places (lines, 2) each, 0 to 1, (side, side)."""
    along = (ends - starts)[:, None, None]  # (lines, 1, 1, 2)
    from_start = centres(side) - starts[:, None, None]  # (lines, side, side, 2)
    share = ((from_start * along).sum(-1) / along.square().sum(-1).clamp(min=1e-9)).clamp(0, 1)
    distance = (from_start - share[..., None] * along).norm(dim=-1)
    covered: Tensor = (THICKNESS * side / 128 + 0.5 - distance).clamp(0, 1)
    return covered.amax(0)


def centres(side: int) -> Tensor:
    """Of the pixels, x and y, (side, side, 2)."""
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    return torch.stack([x, y], -1)


def figures(lab: Lab, *, train: int, test: int, side: int) -> Data:
    """So many square pictures of that side; their random numbers are keyed by the lab."""
    parts = []
    for purpose, count in (("figures train", train), ("figures test", test)):
        pictures, places = [], []
        for number in range(count):
            drawing = Drawing(side, torch.Generator().manual_seed(lab.key(purpose, number) % 2**63))
            places.append(drawing.joints())
            pictures.append(drawing.picture(places[-1]))
        parts.append(Examples(torch.stack(pictures)[:, None] / SCALE, torch.stack(places)))
    return Data("figures", parts[0], parts[1], classes=0)
