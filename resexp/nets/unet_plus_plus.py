"""U-Net++: between the way down and the way up, a triangle of nested skips.

    x[i][0] = f(pool(x[i-1][0])),   x[i][j] = f([x[i][0], ..., x[i][j-1], up(x[i+1][j-1])]),   i + j <= depth

f is two padded 3 x 3 convolutions with ReLU; level i has width 2^i channels. The output is a 1 x 1 convolution of
x[0][depth], or with supervision=true a list of them, of x[0][1] to x[0][depth]: their mean is the accurate mode of
the paper, and one of the first the fast mode.

Source: Zhou et al. 2018, and its code, whose ELU and dropout of 0.5 are left out here.
"""

import torch
from torch import Tensor, nn

from resexp.core.initialisation import InitialisationName
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe
from resexp.nets.unet import check_side, double


class UNetPlusPlus(nn.Module):
    """The triangle of nodes; `node[i][j]` is f of x[i][j], `up[i][j - 1]` what feeds it from below."""

    def __init__(self, recipe: Recipe, widths: list[int], channels: int, classes: int, supervision: bool) -> None:
        super().__init__()
        self.depth = len(widths) - 1
        self.supervision = supervision
        inputs = [channels, *widths]
        self.node, self.up = nn.ModuleList(), nn.ModuleList()
        for i, width in enumerate(widths):
            across = range(1, self.depth - i + 1)
            first = double(recipe, inputs[i], width, width, padded=True)
            self.node.append(
                nn.ModuleList([first, *[double(recipe, (j + 1) * width, width, width, padded=True) for j in across]])
            )
            self.up.append(nn.ModuleList(recipe.up(widths[i + 1], width) for _ in across))
        heads = self.depth if supervision else 1
        self.heads = nn.ModuleList(recipe.layer(widths[0], classes, bias=True) for _ in range(heads))
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """From x (batch, channels, *sides) to scores (batch, classes, *sides), or a list of them."""
        for side in x.shape[2:]:
            check_side(side, self.depth, padded=True)
        rows: list[list[Tensor]] = []
        for i in range(self.depth + 1):
            rows.append([self._node(i, 0, self.pool(rows[i - 1][0]) if i else x)])
        for j in range(1, self.depth + 1):
            for i in range(self.depth - j + 1):
                below = self._ups(i)[j - 1](rows[i + 1][j - 1])
                rows[i].append(self._node(i, j, torch.cat([*rows[i], below], 1)))
        if self.supervision:
            return [head(node) for head, node in zip(self.heads, rows[0][1:], strict=True)]
        out: Tensor = self.heads[0](rows[0][-1])
        return out

    def _node(self, i: int, j: int, x: Tensor) -> Tensor:
        row = self.node[i]
        assert isinstance(row, nn.ModuleList)
        out: Tensor = row[j](x)
        return out

    def _ups(self, i: int) -> nn.ModuleList:
        row = self.up[i]
        assert isinstance(row, nn.ModuleList)
        return row


def unet_plus_plus(
    *,
    depth: int = 4,
    width: int = 32,
    channels: int = 1,
    classes: int = 1,
    supervision: bool = False,
    norm: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """The U-Net++ of Zhou et al."""
    widths = [width << level for level in range(depth + 1)]
    return UNetPlusPlus(Recipe(norm, init=init), widths, channels, classes, supervision)


def read(text: str) -> Arguments:
    """Nothing."""
    matched(r"", text, "it takes nothing after the colon, only options such as depth=3")
    return {}


def input_shape(channels: int = 1) -> tuple[int, ...]:
    """The images of the paper are resampled to many sizes; 256 fits depths up to 8."""
    return channels, 256, 256


FAMILY = Family(
    read, unet_plus_plus, input_shape, ("depth", "width", "channels", "classes", "supervision", "norm", "init")
)
