"""Convolutional residual blocks, basic and bottleneck, in both versions, with shortcuts A and B.

    version 1   relu(shortcut(h) + f(h)),  f = conv, norm, relu, conv, norm                     He et al. 2015
    version 2   shortcut(h) + f(h),        f = norm, relu, conv, norm, relu, conv               He et al. 2016

A bottleneck has three convolutions, 1 x 1, 3 x 3 and 1 x 1. In version 2, the first norm and ReLU come before branch
and shortcut part in a block that changes the number of channels, as in the code of He et al. (resnet-1k-layers), and in
the first block of the net, as in their appendix (timm and pytorchcv do it in the former only, which tells in nets of
basic blocks). Shortcut B is then a bare 1 x 1 convolution, while in version 1 a norm follows it.
The stride is in the 3 x 3 convolution, as in fb.resnet.torch and torchvision; in the papers it is in the first 1 x 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from resexp.nets.recipe import Recipe, ScalarBias
from resexp.nets.residual import Residual, ZeroPad

ShortcutName = Literal["a", "b"]


class Convolution(NamedTuple):
    """One convolution of a branch."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    groups: int = 1


@dataclass(frozen=True)
class Unit:
    """Channels of one block: into it, inside, and out of it."""

    inputs: int
    inner: int
    outputs: int
    stride: int = 1
    bottleneck: bool = False
    groups: int = 1

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The convolutions of the branch."""
        if self.bottleneck:
            return (
                Convolution(self.inputs, self.inner, 1),
                Convolution(self.inner, self.inner, 3, self.stride, self.groups),
                Convolution(self.inner, self.outputs, 1),
            )
        return Convolution(self.inputs, self.inner, 3, self.stride), Convolution(self.inner, self.outputs, 3)

    @property
    def reshapes(self) -> bool:
        """Whether the output has another shape than the input."""
        return self.inputs != self.outputs or self.stride != 1


def stages(
    counts: Sequence[int], inputs: int, outputs: int, inner: int, *, bottleneck: bool, groups: int = 1
) -> list[Unit]:
    """Units of all stages; from the second stage on, the first block halves the side and channels are doubled."""
    units = []
    for stage, count in enumerate(counts):
        for block in range(count):
            stride = 2 if stage and not block else 1
            units.append(Unit(inputs, inner << stage, outputs << stage, stride, bottleneck, groups))
            inputs = outputs << stage
    return units


def chain(recipe: Recipe, units: Sequence[Unit], *, shortcut: ShortcutName, preactivation: bool) -> list[Residual]:
    """The blocks of a net."""
    make = preactivation_block if preactivation else postactivation_block
    kind = "a" if recipe.scheme == "plain" else shortcut
    return [make(recipe, number, unit, kind) for number, unit in enumerate(units, 1)]


def postactivation_block(recipe: Recipe, number: int, unit: Unit, kind: ShortcutName) -> Residual:
    """A block of version 1."""
    shared = recipe.fixup and unit.reshapes
    *inner, last = unit.convolutions
    branch: list[nn.Module] = []
    for convolution in inner:
        branch += [
            recipe.branch_layer(
                *convolution[:4], groups=convolution.groups, last=False, first_shared=shared and not branch
            ),
            recipe.normaliser(convolution.outputs),
            nn.ReLU(),
        ]
    branch += [*recipe.dropout(), recipe.branch_layer(*last[:4], last=True)]
    branch += [*recipe.multiplier(), recipe.normaliser(last.outputs)]
    return recipe.residual(
        number,
        nn.Sequential(*branch),
        shortcut_of(recipe, unit, kind, norm=not recipe.fixup),
        before=ScalarBias() if shared else None,
        after=nn.ReLU(),
    )


def preactivation_block(recipe: Recipe, number: int, unit: Unit, kind: ShortcutName) -> Residual:
    """A block of version 2."""
    shared = number == 1 or unit.reshapes
    before = nn.Sequential(recipe.normaliser(unit.inputs), nn.ReLU()) if shared else None
    branch: list[nn.Module] = []
    for position, convolution in enumerate(unit.convolutions):
        last = position == len(unit.convolutions) - 1
        if position or not shared:
            branch += [recipe.normaliser(convolution.inputs), nn.ReLU()]
        branch += recipe.dropout() if last else []
        branch.append(recipe.branch_layer(*convolution[:4], groups=convolution.groups, last=last))
    branch += recipe.multiplier()
    return recipe.residual(number, nn.Sequential(*branch), shortcut_of(recipe, unit, kind, norm=False), before=before)


def shortcut_of(recipe: Recipe, unit: Unit, kind: ShortcutName, *, norm: bool) -> nn.Module | None:
    """Identity where the shape stays; else zeros for new channels (A) or a projection (B)."""
    if not unit.reshapes:
        return None
    if kind == "a":
        return ZeroPad(unit.outputs - unit.inputs, unit.stride)
    projection = recipe.layer(unit.inputs, unit.outputs, 1, unit.stride)
    return nn.Sequential(projection, recipe.normaliser(unit.outputs)) if norm else projection


def closing(recipe: Recipe, channels: int, classes: int, *, preactivation: bool) -> nn.Module:
    """The head: in version 2 a last norm and ReLU, then the classifier."""
    last = [recipe.normaliser(channels), nn.ReLU()] if preactivation else []
    return nn.Sequential(*last, recipe.classifier(channels, classes))
