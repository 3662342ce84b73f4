"""A prediction for an image of any size, put together from tiles (Ronneberger et al. 2015, figure 2).

A net without padding gives for an input of n pixels an output of n - 2 border, each number of which saw only pixels
that are there. So tiles of outputs beside each other, each from its own part of the image with a border around, are the
output of the whole image at once, to rounding: as long as tiles start at multiples of what is pooled together. Beyond
the image's edge stands its mirror image.
"""

import torch
from torch import Tensor, nn

from resexp.core.errors import UsageError
from resexp.training.data.cells import mirrored


@torch.no_grad()
def stitched(net: nn.Module, image: Tensor, *, border: int, tile: int, pooled: int) -> Tensor:
    """Scores (classes, height, width) for an image (channels, height, width) of any size.

    tile: side of the output of a tile, such that tile + 2 border fits the net; pooled: pixels a side that the poolings
    put together. Tiles lie as close as their grid demands, and overlap where that is not a whole tile. Raises
    UsageError where a tile is less than one step of the grid.
    """
    step = tile // pooled * pooled
    if not step:
        raise UsageError(f"A tile of {tile} pixels is smaller than what the poolings put together, {pooled}.")
    height, width = image.shape[-2:]
    down, right = (max(0, (n - 1) // step * step + tile - n) for n in (height, width))
    whole = mirrored(image, border, down, right)
    lines = []
    side = tile + 2 * border
    for y in range(0, height, step):
        line = [net(whole[None, :, y : y + side, x : x + side])[0] for x in range(0, width, step)]
        lines.append(torch.cat([part[:, :step, :step] for part in line], -1))
    return torch.cat(lines, -2)[..., :height, :width]
