"""DenseNets: every layer sees the concatenated outputs of all layers before it in its block.

    h[k+1] = [h[k], f(h[k])],   so C channels become C + k,   k the growth rate

f is norm, ReLU, 3 x 3 convolution to k channels, after norm, ReLU, 1 x 1 convolution to 4 k in nets with bottlenecks.
Between blocks norm, ReLU, a 1 x 1 convolution to `compression` times the channels, and 2 x 2 mean pooling; a last norm
and ReLU at the end. Figure 11.9 of the book starts from the 3 channels of the image and grows by 32: 3, 35, 67, 99, ...

`121`, `161`, `169`, `201` are those of ImageNet, with bottlenecks and compression 1/2. For CIFAR, `40-12` is depth and
growth rate, three blocks without bottlenecks or compression; `bc-100-12` has both.

Source: Huang et al. 2017, table 1 and section 4.2; Prince 2023, figure 11.9.
"""

import torch
from torch import Tensor, nn

from resexp.core.initialisation import InitialisationName
from resexp.nets.family import Arguments, Family, listed, matched
from resexp.nets.recipe import Recipe

IMAGENET = {
    121: ((6, 12, 24, 16), 32),
    161: ((6, 12, 36, 24), 48),
    169: ((6, 12, 32, 32), 32),
    201: ((6, 12, 48, 32), 32),
}
"""Layers a block, and growth rate."""


def channels_after(inputs: int, growth: int, layers: int) -> list[int]:
    """Channels into a block and after each of its layers: inputs, inputs + growth, ..."""
    return [inputs + growth * layer for layer in range(layers + 1)]


class DenseLayer(nn.Module):
    """[h, f(h)]."""

    def __init__(self, recipe: Recipe, inputs: int, growth: int, *, bottleneck: bool) -> None:
        super().__init__()
        inner = 4 * growth if bottleneck else inputs
        reduce = [recipe.normaliser(inputs), nn.ReLU(), recipe.layer(inputs, inner)] if bottleneck else []
        grow = [recipe.normaliser(inner), nn.ReLU(), recipe.layer(inner, growth, 3)]
        self.branch = nn.Sequential(*reduce, *grow, *recipe.dropout())

    def forward(self, h: Tensor) -> Tensor:
        """From h (batch, C, side, side) to (batch, C + growth, side, side)."""
        return torch.cat([h, self.branch(h)], 1)


def dense_block(recipe: Recipe, inputs: int, growth: int, layers: int, *, bottleneck: bool) -> nn.Sequential:
    """The layers of one block."""
    channels = channels_after(inputs, growth, layers)[:-1]
    return nn.Sequential(*[DenseLayer(recipe, c, growth, bottleneck=bottleneck) for c in channels])


def densenet(
    *,
    layers: tuple[int, ...] = IMAGENET[121][0],
    growth: int = 32,
    bottleneck: bool = True,
    compression: float = 0.5,
    small: bool = False,
    channels: int = 3,
    classes: int | None = None,
    norm: str = "batch",
    drop: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """A DenseNet; `small` has the stem for CIFAR, of 16 channels or, with bottlenecks, twice the growth rate."""
    recipe = Recipe(norm, drop=drop, init=init)
    width = 2 * growth if bottleneck or not small else 16
    if small:
        parts: list[nn.Module] = [recipe.layer(channels, width, 3)]
    else:
        parts = [recipe.layer(channels, width, 7, 2), recipe.normaliser(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for number, count in enumerate(layers):
        if number:
            thinned = int(width * compression)
            parts += [recipe.normaliser(width), nn.ReLU(), recipe.layer(width, thinned), nn.AvgPool2d(2)]
            width = thinned
        parts.append(dense_block(recipe, width, growth, count, bottleneck=bottleneck))
        width = channels_after(width, growth, count)[-1]
    parts += [recipe.normaliser(width), nn.ReLU(), recipe.classifier(width, classes or (10 if small else 1000))]
    return nn.Sequential(*parts)


def read(text: str) -> Arguments:
    """`121`, `40-12`, `bc-100-12`."""
    found = matched(
        r"(?P<depth>\d+)|((?P<bc>bc)-)?(?P<small>\d+)-(?P<growth>[1-9]\d*)",
        text,
        f"it takes {listed(list(IMAGENET))} for ImageNet, or depth and growth rate for CIFAR, 40-12 or bc-100-12",
    )
    if found["depth"]:
        depth = int(found["depth"])
        if depth not in IMAGENET:
            raise ValueError(
                f"no depth {depth}; for ImageNet there are {listed(list(IMAGENET))}; for CIFAR say bc-100-12"
            )
        layers, growth = IMAGENET[depth]
        return {"layers": layers, "growth": growth}
    depth, bottleneck = int(found["small"] or 0), found["bc"] is not None
    step = 6 if bottleneck else 3
    if depth < step + 4 or (depth - 4) % step:
        raise ValueError(f"no depth {depth}; for CIFAR it is 3 n + 4, such as 40, or with bc- 6 n + 4, such as 100")
    return {
        "layers": ((depth - 4) // step,) * 3,
        "growth": int(found["growth"] or 0),
        "bottleneck": bottleneck,
        "compression": 0.5 if bottleneck else 1.0,
        "small": True,
    }


def input_shape(small: bool = False, channels: int = 3) -> tuple[int, ...]:
    """An ImageNet crop, or a CIFAR image."""
    side = 32 if small else 224
    return channels, side, side


FAMILY = Family(read, densenet, input_shape, ("channels", "classes", "norm", "drop", "init"))
