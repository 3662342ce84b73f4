"""Shake-Shake ResNets: blocks with two branches, mixed at random and independently in the two passes.

`26-2x32d` has depth 26 = 6 n + 2, two branches, and 32 channels in the first of three stages of n blocks:

    h + a f1(h) + (1 - a) f2(h),   f = relu, conv, norm, relu, conv, norm,   the norm last and no ReLU after the sum

Where channels are added the skip is ReLU, then two 1 x 1 convolutions to half the channels each, of every second pixel
and of every second pixel of the map shifted by one to the right and down, then a norm over both. A 3 x 3 convolution to
16 channels with a norm and no ReLU comes first, a ReLU last.

pytorchcv has as many parameters but a ReLU after each sum, so that its skips carry no negative numbers.

Source: Gastaldi 2017 and its code, xgastaldi/shake-shake.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from resexp.core.initialisation import InitialisationName
from resexp.nets.blocks import Unit, stages
from resexp.nets.cifar_resnet import input_shape
from resexp.nets.family import Arguments, Family, matched
from resexp.nets.recipe import Recipe
from resexp.nets.regularisers import ShakeShake
from resexp.nets.residual import ResidualNet

STEM = 16


class ShiftedSkip(nn.Module):
    """Half of the new channels from every second pixel, half from those beside them."""

    def __init__(self, recipe: Recipe, unit: Unit) -> None:
        super().__init__()
        self.stride = unit.stride
        self.here = recipe.layer(unit.inputs, unit.outputs // 2)
        self.beside = recipe.layer(unit.inputs, unit.outputs - unit.outputs // 2)
        self.norm = recipe.normaliser(unit.outputs)

    def forward(self, h: Tensor) -> Tensor:
        """From h (batch, inputs, side, side) to (batch, outputs, side / stride, side / stride)."""
        h = torch.relu(h)
        shifted = pad(h, (1, -1, 1, -1))
        every = slice(None, None, self.stride)
        both = torch.cat([self.here(h[..., every, every]), self.beside(shifted[..., every, every])], 1)
        out: Tensor = self.norm(both)
        return out


def shake_shake(
    *,
    depth: int = 26,
    width: int = 32,
    channels: int = 3,
    classes: int = 10,
    norm: str = "batch",
    init: InitialisationName = "he",
) -> nn.Module:
    """Shake-Shake-Image with two branches."""
    per_stage = (depth - 2) // 6
    recipe = Recipe(norm, init=init, blocks=3 * per_stage)
    units = stages([per_stage] * 3, STEM, width, width, bottleneck=False)
    blocks = [
        recipe.residual(
            number,
            ShakeShake(branch(recipe, unit), branch(recipe, unit)),
            ShiftedSkip(recipe, unit) if unit.reshapes else None,
        )
        for number, unit in enumerate(units, 1)
    ]
    return ResidualNet(
        nn.Sequential(recipe.layer(channels, STEM, 3), recipe.normaliser(STEM)),
        blocks,
        nn.Sequential(nn.ReLU(), recipe.classifier(units[-1].outputs, classes)),
    )


def branch(recipe: Recipe, unit: Unit) -> nn.Module:
    """relu, conv, norm, relu, conv, norm."""
    layers: list[nn.Module] = []
    for convolution in unit.convolutions:
        layers += [nn.ReLU(), recipe.layer(*convolution[:4]), recipe.normaliser(convolution.outputs)]
    return nn.Sequential(*layers)


def read(text: str) -> Arguments:
    """`26-2x32d`: depth, two branches, channels."""
    expected = "it takes a depth 6 n + 2, two branches, and channels, 26-2x32d or 26-2x96d"
    found = matched(r"(?P<depth>\d+)-2x(?P<width>[1-9]\d*)d", text, expected)
    depth = int(found["depth"] or 0)
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"no depth {depth}; {expected}")
    return {"depth": depth, "width": int(found["width"] or 0)}


FAMILY = Family(read, shake_shake, input_shape, ("channels", "classes", "norm", "init"))
