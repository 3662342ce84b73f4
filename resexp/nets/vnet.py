"""V-Net: a 3-D U-Net whose stages are residual blocks of 5 x 5 x 5 convolutions, padded, with PReLU.

    stage(h) = prelu(h + f(h)),   f = conv, prelu, conv, prelu, conv    (1, 2, 3, 3, 3 convolutions down, 3, 3, 2, 1 up)

Convolutions with kernel 2 and stride 2 halve the side and double the 16 channels; up-convolutions go back, half of the
channels of a stage up coming from below and half from the way down. Input to the first stage is the volume itself,
repeated over the channels. A 1 x 1 x 1 convolution gives the scores.

The numbers of convolutions are those of figure 2 and of the receptive fields in table 1 of the paper (5, 22, 72, 172,
372 | 476, 528, 546, 551). The published prototxt has 1, 1, 2, 3, 3 | 3, 2, 1, 1, and ports 1, 1, 2, 3, 2 | 2, 2, 1, 1
with norms: `convolutions` says which. No norms, as published.

Source: Milletari et al. 2016.
"""

import torch
from torch import Tensor, nn

from resexp.core.initialisation import InitialisationName
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe
from resexp.nets.residual import Residual
from resexp.nets.unet import check_side

CONVOLUTIONS = {
    "paper": ((1, 2, 3, 3, 3), (3, 3, 2, 1)),
    "prototxt": ((1, 1, 2, 3, 3), (3, 2, 1, 1)),
    "ports": ((1, 1, 2, 3, 2), (2, 2, 1, 1)),
}
"""Convolutions a stage, down and up, by who tells them."""


class Repeat(nn.Module):
    """The first stage's shortcut: channels, each as often as it takes."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def forward(self, h: Tensor) -> Tensor:
        """From h (batch, channels, *sides) to (batch, channels * times, *sides)."""
        return h.repeat(1, self.times, *[1] * (h.dim() - 2))


class VNet(nn.Module):
    """Stages down, steps down between them, steps up and stages up."""

    def __init__(
        self, recipe: Recipe, width: int, down: tuple[int, ...], up: tuple[int, ...], channels: int, classes: int
    ) -> None:
        super().__init__()
        widths = [width << level for level in range(len(down))]
        self.depth = len(up)
        first = stage(recipe, channels, width, down[0], Repeat(width // channels))
        self.down = nn.ModuleList([first, *[stage(recipe, w, w, n) for w, n in zip(widths[1:], down[1:], strict=True)]])
        self.fall = nn.ModuleList(
            nn.Sequential(recipe.layer(w, 2 * w, 2, 2, padding=0), recipe.normaliser(2 * w), nn.PReLU(2 * w))
            for w in widths[:-1]
        )
        deepest, *ways = reversed(widths)
        below = [deepest, *[2 * way for way in ways]]
        self.rise = nn.ModuleList(
            nn.Sequential(recipe.up(b, w, bias=recipe.biased), recipe.normaliser(w), nn.PReLU(w))
            for b, w in zip(below[:-1], ways, strict=True)
        )
        self.up = nn.ModuleList(stage(recipe, 2 * w, 2 * w, n) for w, n in zip(ways, up, strict=True))
        self.last = recipe.layer(2 * width, classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """From x (batch, channels, *sides) to scores (batch, classes, *sides)."""
        for side in x.shape[2:]:
            check_side(side, self.depth, padded=True)
        ways = []
        for level, stage_down in enumerate(self.down):
            x = stage_down(self.fall[level - 1](x) if level else x)
            ways.append(x)
        for rise, stage_up, way in zip(self.rise, self.up, reversed(ways[:-1]), strict=True):
            x = stage_up(torch.cat([rise(x), way], 1))
        out: Tensor = self.last(x)
        return out


def stage(recipe: Recipe, inputs: int, width: int, convolutions: int, shortcut: nn.Module | None = None) -> Residual:
    """A residual stage of `width` channels."""
    parts: list[nn.Module] = []
    for number in range(convolutions):
        parts += [nn.PReLU(width)] if number else []
        parts += [recipe.layer(width if number else inputs, width, 5), recipe.normaliser(width)]
    return Residual(nn.Sequential(*parts), shortcut, after=nn.PReLU(width))


def vnet(
    *,
    convolutions: str = "paper",
    width: int = 16,
    channels: int = 1,
    classes: int = 2,
    norm: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """The V-Net of Milletari et al."""
    if width % channels:
        raise ValueError(f"{width} channels of the first stage are not a multiple of the {channels} of the volume")
    down, up = CONVOLUTIONS[convolutions]
    return VNet(Recipe(norm, init=init, dimensions=3), width, down, up, channels, classes)


def read(text: str) -> Arguments:
    """Nothing, or whose numbers of convolutions: `prototxt`, `ports`."""
    found = matched(
        "|".join(["(?P<convolutions>paper|prototxt|ports)", ""]), text, "it takes nothing, prototxt or ports"
    )
    return {"convolutions": found["convolutions"] or "paper"}


def input_shape(channels: int = 1) -> tuple[int, ...]:
    """The volume of the paper, 128 x 128 x 64."""
    return channels, 64, 128, 128


FAMILY = Family(read, vnet, input_shape, ("width", "channels", "classes", "norm", "init"))
