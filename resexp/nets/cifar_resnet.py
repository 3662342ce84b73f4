"""ResNets for CIFAR, versions 1 and 2, and their plain counterparts.

A 3 x 3 convolution to `width` channels, then three stages of n blocks with 1, 2 and 4 times as many; the second and
third stage begin by halving the side. Depth 6 n + 2 has basic blocks, 9 n + 2 bottlenecks (whose inner width is
`width` and outer width 4 times that). 164 is both: He et al. 2016 made it of bottlenecks, so that is what `164` is.

Shortcuts where channels are added: A, zeros, as in He et al. 2015 on CIFAR, the default of basic blocks; B, a
projection, as in the code of He et al. 2016, the default of bottlenecks. `56-b` and `164-a` say it.

A plain net is the same without skips: with shortcut A it has as many parameters.

Sources: He et al. 2015, section 4.2; He et al. 2016 and its code, resnet-1k-layers.
"""

from torch import nn

from resexp.core.initialisation import InitialisationName
from resexp.core.schemes import SchemeName
from resexp.nets.blocks import ShortcutName, chain, closing, stages
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe, default_norm
from resexp.nets.residual import ResidualNet
from resexp.nets.resnet import Version

BOTTLENECKS = (164,)
"""Depths 6 n + 2 whose published net is of bottlenecks."""


def cifar_resnet(
    *,
    depth: int = 20,
    bottleneck: bool | None = None,
    shortcut: ShortcutName | None = None,
    version: Version = "v1",
    width: int = 16,
    channels: int = 3,
    classes: int = 10,
    norm: str | None = None,
    scheme: SchemeName = "residual",
    drop: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """A ResNet for small images; `bottleneck` and `shortcut` are those of the published net unless given."""
    bottleneck = of_bottlenecks(depth) if bottleneck is None else bottleneck
    per_stage = blocks_a_stage(depth, bottleneck)
    recipe = Recipe(default_norm(norm, scheme), scheme, drop, init, blocks=3 * per_stage, depth=3 if bottleneck else 2)
    preactivation = version == "v2"
    stem = [recipe.layer(channels, width, 3)]
    if not preactivation:
        stem += [recipe.normaliser(width), nn.ReLU()]
    units = stages([per_stage] * 3, width, 4 * width if bottleneck else width, width, bottleneck=bottleneck)
    return ResidualNet(
        nn.Sequential(*stem),
        chain(recipe, units, shortcut=shortcut or ("b" if bottleneck else "a"), preactivation=preactivation),
        closing(recipe, units[-1].outputs, classes, preactivation=preactivation),
    )


def of_bottlenecks(depth: int) -> bool:
    """Whether the net of that depth has bottlenecks if nothing is said."""
    return depth in BOTTLENECKS or (depth - 2) % 6 != 0


def blocks_a_stage(depth: int, bottleneck: bool) -> int:
    """The n of depth 6 n + 2 or 9 n + 2."""
    layers = 9 if bottleneck else 6
    if depth < layers + 2 or (depth - 2) % layers:
        kind = "bottlenecks 9 n + 2, such as 164 or 1001" if bottleneck else "basic blocks 6 n + 2, such as 20 or 56"
        raise ValueError(f"no depth {depth}; with {kind}")
    return (depth - 2) // layers


def read(text: str) -> Arguments:
    """`56`, `56-b`, `164-v2`, `110-bottleneck`."""
    found = matched(
        r"(?P<depth>\d+)(-(?P<block>basic|bottleneck))?(-(?P<shortcut>[ab]))?(-(?P<version>v1|v2))?",
        text,
        "it takes a depth 6 n + 2, or 9 n + 2 of bottlenecks, then -a or -b for the shortcut, then -v2: 56-b, 164-v2",
    )
    depth = int(found["depth"] or 0)
    arguments: Arguments = {"depth": depth, "version": found["version"] or "v1"}
    if found["shortcut"]:
        arguments["shortcut"] = found["shortcut"]
    bottleneck = found["block"] == "bottleneck" if found["block"] else of_bottlenecks(depth)
    if not found["block"] and bottleneck and (depth < 11 or (depth - 2) % 9):
        raise ValueError(
            f"no depth {depth}; depths are 6 n + 2, such as 20 or 56, or with bottlenecks 9 n + 2, such as 164"
        )
    blocks_a_stage(depth, bottleneck)
    return {**arguments, "bottleneck": bottleneck}


def read_plain(text: str) -> Arguments:
    """`56`, `56-v2`: a depth as above, without skips."""
    return {**read(text), "scheme": "plain"}


def input_shape(channels: int = 3) -> tuple[int, ...]:
    """A CIFAR image."""
    return channels, 32, 32


OPTIONS = ("width", "channels", "classes", "norm", "scheme", "drop", "init")
FAMILY = Family(read, cifar_resnet, input_shape, OPTIONS)
PLAIN = Family(read_plain, cifar_resnet, input_shape, tuple(option for option in OPTIONS if option != "scheme"))
