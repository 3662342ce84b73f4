"""VGG nets, for comparison with residual ones: 3 x 3 convolutions, five times max pooling, three linear layers.

`16` is configuration D of the paper. Without norms, as published; norm=batch puts one after each convolution, whose
bias is then left out (torchvision's vgg16_bn keeps it: 4,224 parameters more).

Source: Simonyan and Zisserman 2015, table 1.
"""

from torch import nn

from resexp.core.initialisation import InitialisationName
from resexp.nets.family import Arguments, Family, listed, matched
from resexp.nets.recipe import Recipe

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions before each pooling."""

SIDE = 7  # pixels before the linear layers


def vgg(
    *,
    convolutions: tuple[int, ...] = CONVOLUTIONS[16],
    width: int = 64,
    hidden: int = 4096,
    channels: int = 3,
    classes: int = 1000,
    norm: str = "none",
    init: InitialisationName = "he",
) -> nn.Module:
    """A VGG of 1, 2, 4, 8 and 8 times `width` channels and two linear layers of `hidden` units."""
    recipe = Recipe(norm, init=init)
    fully_connected = Recipe("none", init=init, dimensions=0)
    parts: list[nn.Module] = []
    inputs = channels
    for stage, count in enumerate(convolutions):
        outputs = width << min(stage, 3)
        for _ in range(count):
            parts += [recipe.layer(inputs, outputs, 3), recipe.normaliser(outputs), nn.ReLU()]
            inputs = outputs
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *parts,
        nn.AdaptiveAvgPool2d(SIDE),
        nn.Flatten(),
        fully_connected.layer(inputs * SIDE**2, hidden),
        nn.ReLU(),
        nn.Dropout(),
        fully_connected.layer(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, classes),
    )


def read(text: str) -> Arguments:
    """`16`: layers with weights."""
    depth = int(matched(r"(?P<depth>\d+)", text, "it takes a depth, 16")["depth"] or 0)
    if depth not in CONVOLUTIONS:
        raise ValueError(f"no depth {depth}; there are {listed(list(CONVOLUTIONS))}")
    return {"convolutions": CONVOLUTIONS[depth]}


def input_shape(channels: int = 3) -> tuple[int, ...]:
    """An ImageNet crop."""
    return channels, 224, 224


FAMILY = Family(read, vgg, input_shape, ("width", "hidden", "channels", "classes", "norm", "init"))
