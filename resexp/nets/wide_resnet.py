"""Wide ResNets: version 2 of the ResNet for CIFAR with k times as many channels in the blocks.

`28-10` has depth 28 = 6 n + 4 and k = 10: a 3 x 3 convolution to 16 channels, then three stages of n basic blocks with
160, 320 and 640. The convolutions of the three projections are the layers that 6 n + 4 counts beyond 6 n + 1.
Dropout is between the two convolutions of a block: drop=dropout:0.3.

Source: Zagoruyko and Komodakis 2016, table 1.
"""

from torch import nn

from resexp.core.initialisation import InitialisationName
from resexp.core.schemes import SchemeName
from resexp.nets.blocks import chain, closing, stages
from resexp.nets.cifar_resnet import input_shape
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe, default_norm
from resexp.nets.residual import ResidualNet


def wide_resnet(
    *,
    depth: int = 28,
    widening: int = 10,
    width: int = 16,
    channels: int = 3,
    classes: int = 10,
    norm: str | None = None,
    scheme: SchemeName = "residual",
    drop: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """WRN-depth-widening."""
    per_stage = (depth - 4) // 6
    recipe = Recipe(default_norm(norm, scheme), scheme, drop, init, blocks=3 * per_stage)
    units = stages([per_stage] * 3, width, widening * width, widening * width, bottleneck=False)
    return ResidualNet(
        recipe.layer(channels, width, 3),
        chain(recipe, units, shortcut="b", preactivation=True),
        closing(recipe, units[-1].outputs, classes, preactivation=True),
    )


def read(text: str) -> Arguments:
    """`28-10`: depth and widening factor."""
    expected = "it takes a depth 6 n + 4 and a widening factor, 28-10 or 16-8"
    found = matched(r"(?P<depth>\d+)-(?P<widening>[1-9]\d*)", text, expected)
    depth = int(found["depth"] or 0)
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"no depth {depth}; {expected}")
    return {"depth": depth, "widening": int(found["widening"] or 0)}


FAMILY = Family(read, wide_resnet, input_shape, ("width", "channels", "classes", "norm", "scheme", "drop", "init"))
