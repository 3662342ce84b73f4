"""Stacked hourglass networks: hourglasses one after the other, each with an output of its own that is fed back in.

An hourglass of order n is a residual block beside max pooling, a block, an hourglass of order n - 1 (at order 1 a
block), a block and nearest-neighbour upsampling; the two ways are added. Blocks are bottlenecks of version 2 with half
the channels inside. After each hourglass a block and a 1 x 1 convolution with norm and ReLU give z, and a 1 x 1
convolution of z the heatmaps; into the next hourglass go the input of this one + a 1 x 1 convolution of z + a 1 x 1
convolution of the heatmaps. The net gives the list of all heatmaps, one a stack, all supervised alike (figure 11.12).

Before it a 7 x 7 convolution with stride 2, norm, ReLU, a block to 128 channels, max pooling, and two blocks to 256.
Convolutions have biases although norms follow, as in the published code.

Source: Newell et al. 2016, and its code, pose-hg-train (hg.lua); Prince 2023, figure 11.12.
"""

from torch import Tensor, nn

from resexp.core.errors import UsageError
from resexp.core.initialisation import InitialisationName
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe
from resexp.nets.residual import Residual

ORDER = 4
SHRINKING = 4  # side of the image over the side of the heatmaps


def bottleneck(recipe: Recipe, inputs: int, outputs: int) -> Residual:
    """A block of version 2 whose shortcut, where channels change, sees its input itself."""
    inner = outputs // 2
    parts: list[nn.Module] = []
    for before, after, kernel in ((inputs, inner, 1), (inner, inner, 3), (inner, outputs, 1)):
        parts += [recipe.normaliser(before), nn.ReLU(), recipe.layer(before, after, kernel, bias=True)]
    return Residual(nn.Sequential(*parts), None if inputs == outputs else recipe.layer(inputs, outputs, bias=True))


class Hourglass(nn.Module):
    """An hourglass of some order on maps of one width."""

    def __init__(self, recipe: Recipe, order: int, width: int) -> None:
        super().__init__()
        self.beside = bottleneck(recipe, width, width)
        inside = Hourglass(recipe, order - 1, width) if order > 1 else bottleneck(recipe, width, width)
        self.through = nn.Sequential(
            nn.MaxPool2d(2),
            bottleneck(recipe, width, width),
            inside,
            bottleneck(recipe, width, width),
            nn.Upsample(scale_factor=2),
        )

    def forward(self, h: Tensor) -> Tensor:
        """From h (batch, width, side, side) to the same shape."""
        out: Tensor = self.beside(h) + self.through(h)
        return out


class StackedHourglass(nn.Module):
    """`stacks` hourglasses."""

    def __init__(self, recipe: Recipe, stacks: int, width: int, channels: int, joints: int) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.stem = nn.Sequential(
            recipe.layer(channels, quarter, 7, 2, bias=True),
            recipe.normaliser(quarter),
            nn.ReLU(),
            bottleneck(recipe, quarter, half),
            nn.MaxPool2d(2),
            bottleneck(recipe, half, half),
            bottleneck(recipe, half, width),
        )
        self.hourglasses = nn.ModuleList(
            nn.Sequential(
                Hourglass(recipe, ORDER, width),
                bottleneck(recipe, width, width),
                recipe.layer(width, width, bias=True),
                recipe.normaliser(width),
                nn.ReLU(),
            )
            for _ in range(stacks)
        )
        self.heatmaps = nn.ModuleList(recipe.layer(width, joints, bias=True) for _ in range(stacks))
        self.back = nn.ModuleList(recipe.layer(width, width, bias=True) for _ in range(stacks - 1))
        self.heatmaps_back = nn.ModuleList(recipe.layer(joints, width, bias=True) for _ in range(stacks - 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """From x (batch, channels, *sides) to a list of heatmaps (batch, joints, *sides / 4), one a stack."""
        step = SHRINKING << ORDER
        if any(side % step for side in x.shape[2:]):
            raise UsageError(f"Sides {tuple(x.shape[2:])} do not fit an hourglass: they are multiples of {step}.")
        h = self.stem(x)
        outputs = []
        for stack, hourglass in enumerate(self.hourglasses):
            z = hourglass(h)
            outputs.append(self.heatmaps[stack](z))
            if stack < len(self.back):
                h = h + self.back[stack](z) + self.heatmaps_back[stack](outputs[-1])
        return outputs


def stacked_hourglass(
    *,
    stacks: int = 8,
    width: int = 256,
    channels: int = 3,
    joints: int = 16,
    norm: str = "batch",
    init: InitialisationName = "he",
) -> nn.Module:
    """The network of Newell et al."""
    return StackedHourglass(Recipe(norm, init=init), stacks, width, channels, joints)


def read(text: str) -> Arguments:
    """`8`: stacks."""
    found = matched(r"(?P<stacks>[1-9]\d*)", text, "it takes a number of stacks, 2 or 8")
    return {"stacks": int(found["stacks"] or 0)}


def input_shape(channels: int = 3) -> tuple[int, ...]:
    """The crop of the paper."""
    return channels, 256, 256


FAMILY = Family(read, stacked_hourglass, input_shape, ("width", "channels", "joints", "norm", "init"))
