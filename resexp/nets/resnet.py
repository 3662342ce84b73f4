"""ResNets for ImageNet, versions 1 and 2: ResNet-18, 34, 50, 101, 152, 200, or any number of blocks a stage.

Stem: 7 x 7 convolution with stride 2, norm, ReLU, 3 x 3 max pooling with stride 2. Four stages; from the second on, the
first block halves the side. Version 2 leaves the norm and ReLU of the stem to the first block, after the pooling, and
has a last norm and ReLU before the mean over space. `200-v2` is the net of figure 11.8 of the book: bottlenecks with
64, 128, 256 and 512 channels inside, 3, 24, 36 and 3 of them.

Sources: He et al. 2015, table 1; He et al. 2016 and fb.resnet.torch for ResNet-200; Prince 2023, figure 11.8.
"""

from typing import Literal

from torch import nn

from resexp.core.initialisation import InitialisationName
from resexp.core.schemes import SchemeName
from resexp.nets.blocks import ShortcutName, chain, closing, stages
from resexp.nets.family import Arguments, Family, listed, matched
from resexp.nets.recipe import Recipe, default_norm
from resexp.nets.residual import ResidualNet

COUNTS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Blocks a stage, of two convolutions up to depth 34, else of three."""

Version = Literal["v1", "v2"]


def resnet(
    *,
    counts: tuple[int, ...] = COUNTS[50],
    bottleneck: bool = True,
    version: Version = "v1",
    cardinality: int = 1,
    group_width: int | None = None,
    width: int = 64,
    channels: int = 3,
    classes: int = 1000,
    shortcut: ShortcutName = "b",
    norm: str | None = None,
    scheme: SchemeName = "residual",
    drop: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """A ResNet of `width` channels after the stem; `cardinality` groups of `group_width` channels make it a ResNeXt."""
    recipe = Recipe(default_norm(norm, scheme), scheme, drop, init, blocks=sum(counts), depth=3 if bottleneck else 2)
    preactivation = version == "v2"
    inner = width if group_width is None else cardinality * group_width
    outputs = 4 * width if bottleneck else width
    stem: list[nn.Module] = [recipe.layer(channels, width, 7, 2)]
    if not preactivation:
        stem += [recipe.normaliser(width), nn.ReLU()]
    units = stages(counts, width, outputs, inner, bottleneck=bottleneck, groups=cardinality)
    return ResidualNet(
        nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1)),
        chain(recipe, units, shortcut=shortcut, preactivation=preactivation),
        closing(recipe, units[-1].outputs, classes, preactivation=preactivation),
    )


def counts_of(depth: int) -> tuple[int, ...]:
    """Blocks a stage of a named depth."""
    if depth not in COUNTS:
        raise ValueError(
            f"no depth {depth}; ResNets for ImageNet have {listed(list(COUNTS))}, or blocks a stage, 3-4-6-3"
        )
    return COUNTS[depth]


def read(text: str) -> Arguments:
    """`50`, `50-v2`, or blocks a stage: `2-2-2-2-basic`, `3-4-6-3-bottleneck-v2`."""
    found = matched(
        r"((?P<depth>\d+)|(?P<counts>[1-9]\d*(-[1-9]\d*)+)-(?P<block>basic|bottleneck))(-(?P<version>v1|v2))?",
        text,
        "it takes a depth, 50 or 50-v2, or blocks a stage, 3-4-6-3-bottleneck or 2-2-2-2-basic-v2",
    )
    version = found["version"] or "v1"
    if found["counts"]:
        counts = tuple(map(int, found["counts"].split("-")))
        return {"counts": counts, "bottleneck": found["block"] == "bottleneck", "version": version}
    depth = int(found["depth"] or 0)
    return {"counts": counts_of(depth), "bottleneck": depth > 34, "version": version}


def input_shape(channels: int = 3) -> tuple[int, ...]:
    """An ImageNet crop."""
    return channels, 224, 224


OPTIONS = ("width", "channels", "classes", "shortcut", "norm", "scheme", "drop", "init")
FAMILY = Family(read, resnet, input_shape, OPTIONS)
