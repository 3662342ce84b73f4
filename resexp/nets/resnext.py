"""ResNeXt: ResNets of bottlenecks whose 3 x 3 convolution has `cardinality` groups.

`50-32x4d` has 32 groups of 4 channels in the first stage. Depths 50, 101, 152 and 200 are those of ImageNet; other
depths 9 n + 2, such as 29, are those of CIFAR: three stages of n blocks with 256, 512 and 1024 channels, after a 3 x 3
convolution to 64. `50-1x128d` is the wide ResNet-50-2 of torchvision.

Source: Xie et al. 2017, table 1 and section 5.3.
"""

from torch import nn

from resexp.core.initialisation import InitialisationName
from resexp.core.schemes import SchemeName
from resexp.nets.blocks import ShortcutName, chain, closing, stages
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe, default_norm
from resexp.nets.residual import ResidualNet
from resexp.nets.resnet import COUNTS, resnet


def resnext(
    *,
    depth: int = 50,
    cardinality: int = 32,
    group_width: int = 4,
    width: int = 64,
    channels: int = 3,
    classes: int | None = None,
    shortcut: ShortcutName = "b",
    norm: str | None = None,
    scheme: SchemeName = "residual",
    drop: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """The ResNeXt of that depth."""
    if for_imagenet(depth):
        return resnet(
            counts=COUNTS[depth],
            cardinality=cardinality,
            group_width=group_width,
            width=width,
            channels=channels,
            classes=classes or 1000,
            shortcut=shortcut,
            norm=norm,
            scheme=scheme,
            drop=drop,
            init=init,
        )
    blocks = (depth - 2) // 3
    recipe = Recipe(default_norm(norm, scheme), scheme, drop, init, blocks=blocks, depth=3)
    inner = cardinality * group_width
    units = stages([blocks // 3] * 3, width, 4 * width, inner, bottleneck=True, groups=cardinality)
    return ResidualNet(
        nn.Sequential(recipe.layer(channels, width, 3), recipe.normaliser(width), nn.ReLU()),
        chain(recipe, units, shortcut=shortcut, preactivation=False),
        closing(recipe, units[-1].outputs, classes or 10, preactivation=False),
    )


def for_imagenet(depth: int) -> bool:
    """Whether a ResNeXt of that depth has the stages of a ResNet for ImageNet."""
    return depth in COUNTS and depth > 34


def read(text: str) -> Arguments:
    """`50-32x4d`: depth, groups, and channels of a group."""
    found = matched(
        r"(?P<depth>\d+)-(?P<cardinality>[1-9]\d*)x(?P<group_width>[1-9]\d*)d",
        text,
        "it takes a depth, groups and channels of a group, 50-32x4d or 29-8x64d",
    )
    arguments = {key: int(value or 0) for key, value in found.items()}
    depth = arguments["depth"]
    if not for_imagenet(depth) and (depth < 11 or (depth - 2) % 9):
        raise ValueError(f"no depth {depth}; a ResNeXt has depth 50, 101, 152 or 200, or for CIFAR 9 n + 2, such as 29")
    return arguments


def input_shape(depth: int, channels: int = 3) -> tuple[int, ...]:
    """An ImageNet crop, or a CIFAR image."""
    side = 224 if for_imagenet(depth) else 32
    return channels, side, side


FAMILY = Family(
    read, resnext, input_shape, ("width", "channels", "classes", "shortcut", "norm", "scheme", "drop", "init")
)
