"""U-Nets in two and three dimensions: down by pooling, up by up-convolutions, with the maps of the way down put beside.

Each level has two 3 x 3 convolutions without padding, so an output is smaller than its input, and what comes from the
way down is cropped to fit. `padded` keeps the size. At depth d, without padding, a side n = -4 mod 2^d in gives
n - 12 2^d + 8 out: 572 in, 388 out at depth 4.

    unet     64 channels, doubled by the first convolution of each level; up-convolutions halve them. No norm.
    unet3d   32 channels in the first convolution, doubled by the *second* one of each level, before pooling;
             up-convolutions keep them, without bias. A norm before each ReLU. 132 x 132 x 116 in, 44 x 44 x 28 out.

Sources: Ronneberger et al. 2015; Cicek et al. 2016; Prince 2023, figure 11.10.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from resexp.core.errors import UsageError
from resexp.core.initialisation import InitialisationName
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe


class UNet(nn.Module):
    """A U-Net; level l has `first[l]` and `second[l]` channels after its two convolutions down, `second[l]` up."""

    def __init__(
        self,
        recipe: Recipe,
        first: list[int],
        second: list[int],
        up: list[int],
        channels: int,
        classes: int,
        padded: bool,
        skips: bool = True,
    ) -> None:
        super().__init__()
        self.padded, self.skips, self.depth = padded, skips, len(second) - 1
        inputs = [channels, *second]
        self.down = nn.ModuleList(
            double(recipe, inputs[level], first[level], second[level], padded) for level in range(self.depth + 1)
        )
        levels = range(self.depth - 1, -1, -1)
        up_bias = recipe.dimensions == 2
        self.up = nn.ModuleList(recipe.up(second[level + 1], up[level], bias=up_bias) for level in levels)
        self.merge = nn.ModuleList(
            double(recipe, skips * second[level] + up[level], second[level], second[level], padded) for level in levels
        )
        self.last = recipe.layer(second[0], classes, bias=True)
        self.pool = nn.MaxPool2d(2) if recipe.dimensions == 2 else nn.MaxPool3d(2)

    def forward(self, x: Tensor) -> Tensor:
        """From x (batch, channels, *sides) to scores (batch, classes, *smaller sides)."""
        for side in x.shape[2:]:
            check_side(side, self.depth, self.padded)
        ways = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(self.pool(x) if level else x)
            ways.append(x)
        for up, merge, way in zip(self.up, self.merge, reversed(ways[:-1]), strict=True):
            x = up(x)
            x = merge(self._beside(cropped(way, x), x) if self.skips else x)
        out: Tensor = self.last(x)
        return out

    def _beside(self, way: Tensor, x: Tensor) -> Tensor:
        """The map of the way down and the one from below as one, (batch, channels, *sides)."""
        return torch.cat([way, x], 1)


def double(recipe: Recipe, inputs: int, middle: int, outputs: int, padded: bool) -> nn.Sequential:
    """conv, norm, relu, conv, norm, relu."""
    padding = 1 if padded else 0
    return nn.Sequential(
        recipe.layer(inputs, middle, 3, padding=padding),
        recipe.normaliser(middle),
        nn.ReLU(),
        recipe.layer(middle, outputs, 3, padding=padding),
        recipe.normaliser(outputs),
        nn.ReLU(),
    )


def cropped(way: Tensor, to: Tensor) -> Tensor:
    """The middle of a map (batch, channels, *sides), as large as another."""
    margins = [side - wanted for side, wanted in zip(way.shape[2:], to.shape[2:], strict=True)]
    return pad(way, [-cut for margin in reversed(margins) for cut in (margin // 2, margin - margin // 2)])


def side_out(side: int, depth: int, padded: bool) -> int:
    """Side of the output for a side of the input that fits."""
    return side if padded else side - (12 << depth) + 8


def fitting(side: int, depth: int, padded: bool) -> int:
    """The smallest side, no smaller than this one, of which no odd map is pooled and something is left."""
    bottom = 12 if depth > 1 else 11  # sides at the bottom, in and out, leave 4 pixels there, or 3 at depth 1
    step, remainder, smallest = (1 << depth, 0, 1 << depth) if padded else (1 << depth, -4, (bottom << depth) - 4)
    return max(smallest, side + (remainder - side) % step)


def check_side(side: int, depth: int, padded: bool) -> None:
    """Raise UsageError for a side that does not fit."""
    above = fitting(side, depth, padded)
    if side != above:
        below = above - (1 << depth)
        fits = f"{below} or {above}" if fitting(below, depth, padded) == below else f"{above}"
        raise UsageError(f"A side of {side} pixels does not fit a U-Net of depth {depth}; {fits} does.")


def unet(
    *,
    padded: bool = False,
    depth: int = 4,
    width: int = 64,
    channels: int = 1,
    classes: int = 2,
    norm: str = "none",
    init: InitialisationName = "he",
    skips: bool = True,
) -> nn.Module:
    """The U-Net of Ronneberger et al. on images; without skips, the maps of the way down are not put beside."""
    widths = [width << level for level in range(depth + 1)]
    return UNet(Recipe(norm, init=init), widths, widths, widths[:-1], channels, classes, padded, skips)


def unet3d(
    *,
    padded: bool = False,
    depth: int = 3,
    width: int = 32,
    channels: int = 3,
    classes: int = 3,
    norm: str = "batch",
    init: InitialisationName = "he",
) -> nn.Module:
    """The 3-D U-Net of Cicek et al. on volumes."""
    widths = [width << level for level in range(depth + 2)]
    recipe = Recipe(norm, init=init, dimensions=3)
    return UNet(recipe, widths[:-1], widths[1:], widths[2:], channels, classes, padded)


def read(text: str) -> Arguments:
    """Nothing, or `padded`."""
    found = matched(r"(?P<padded>padded)?", text, "it takes nothing, or padded")
    return {"padded": found["padded"] is not None}


def input_shape(padded: bool, depth: int = 4, channels: int = 1) -> tuple[int, ...]:
    """The tile of the paper or the next larger one that fits; 512 x 512 where convolutions are padded."""
    side = fitting(512 if padded else 572, depth, padded)
    return channels, side, side


def input_shape3d(padded: bool, depth: int = 3, channels: int = 3) -> tuple[int, ...]:
    """The tile of the paper or the next larger one that fits; 64 x 64 x 64 where convolutions are padded."""
    sides = (64, 64, 64) if padded else (116, 132, 132)
    return channels, *(fitting(side, depth, padded) for side in sides)


OPTIONS = ("depth", "width", "channels", "classes", "norm", "init")
FAMILY = Family(read, unet, input_shape, (*OPTIONS, "skips"))
VOLUMES = Family(read, unet3d, input_shape3d, OPTIONS)
