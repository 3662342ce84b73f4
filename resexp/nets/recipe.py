"""What all blocks of one net share: normaliser, scheme, regulariser, initialisation, and how many blocks there are.

Biases: a layer has one only where no normaliser follows that would make it redundant.

Fixup (Zhang et al. 2019) replaces normalisation: in a net of L branches with m layers each
    the last layer of a branch and the classifier start at zero, the other layers of a branch at L^(-1/(2m-2)) times He,
    a branch has one scalar multiplier, 1 at first, and a scalar bias, 0 at first, before each layer and activation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resexp.core.errors import UsageError
from resexp.core.initialisation import InitialisationName
from resexp.core.schemes import SchemeName, scheme
from resexp.nets import norms, regularisers
from resexp.nets.initialise import draw_
from resexp.nets.residual import Residual

LEARNED: tuple[SchemeName, ...] = ("skipinit", "rezero")
"""Schemes whose alpha is a parameter."""

WITHOUT_NORM: tuple[SchemeName, ...] = ("rescaled", "skipinit", "rezero", "stable", "fixup")
"""Schemes that stand in for normalisation: nets of them have none unless it is asked for."""

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
UP_CONVOLUTIONS = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class ScalarBias(nn.Module):
    """h + b, b one number."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, h: Tensor) -> Tensor:
        """Return h + b."""
        return h + self.bias


class Multiplier(nn.Module):
    """a h, a one number."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, h: Tensor) -> Tensor:
        """Return a h."""
        return self.weight * h


@dataclass(frozen=True)
class Recipe:
    """`blocks` is L and `depth` is m, the layers of a branch; `dimensions` of space, 0 in a fully connected net."""

    norm: str = "batch"
    scheme: SchemeName = "residual"
    drop: str = "none"
    init: InitialisationName = "he"
    blocks: int = 1
    depth: int = 2
    dimensions: int = 2

    def __post_init__(self) -> None:
        norms.parse(self.norm)
        if self.scheme == "plain" and regularisers.parse(self.drop)[0] not in ("none", "dropout"):
            raise UsageError(f"scheme=plain has no skips, so '{self.drop}' would cut the net in two.")
        if self.scheme == "batchnorm" and self.norm == "none":
            raise UsageError("scheme=batchnorm normalises: norm=none takes that away; scheme=residual does without.")
        if self.fixup and self.norm != "none":
            raise UsageError(f"scheme=fixup replaces normalisation: leave out norm={self.norm}.")

    @property
    def fixup(self) -> bool:
        """Whether scalar biases and multipliers are there."""
        return self.scheme == "fixup"

    @property
    def biased(self) -> bool:
        """Whether layers that a normaliser may follow have a bias."""
        return not (self.fixup or norms.makes_bias_redundant(self.norm))

    def layer(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        padding: int | None = None,
        groups: int = 1,
        bias: bool | None = None,
        scale: float = 1.0,
    ) -> nn.Module:
        """A convolution, or a linear layer where there is no space; `padding` keeps the size unless given."""
        biased = self.biased if bias is None else bias
        layer: nn.Module
        if self.dimensions == 0:
            layer = nn.Linear(inputs, outputs, biased)
        else:
            padding = kernel // 2 if padding is None else padding
            convolution = CONVOLUTIONS[self.dimensions]
            layer = convolution(inputs, outputs, kernel, stride, padding, groups=groups, bias=biased)
        return self._drawn(layer, scale)

    def up(self, inputs: int, outputs: int, *, bias: bool = True) -> nn.Module:
        """An up-convolution with kernel 2 and stride 2: each output sees one pixel, so the fan-in is `inputs`."""
        layer = UP_CONVOLUTIONS[self.dimensions](inputs, outputs, 2, 2, bias=bias)
        draw_(layer.weight, self.init, fans=(inputs, outputs * 2**self.dimensions))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        return norms.on_layer(self.norm, layer)

    def branch_layer(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool | None = None,
        last: bool,
        first_shared: bool = False,
    ) -> nn.Module:
        """A layer of a branch, for Fixup scaled and behind a scalar bias, unless the shortcut shares that one."""
        scale = 1.0
        if self.fixup:
            scale = 0.0 if last else self.blocks ** (-1.0 / (2 * self.depth - 2))
        layer = self.layer(inputs, outputs, kernel, stride, groups=groups, bias=bias, scale=scale)
        return nn.Sequential(ScalarBias(), layer) if self.fixup and not first_shared else layer

    def normaliser(self, channels: int) -> nn.Module:
        """What comes between a layer and an activation."""
        return ScalarBias() if self.fixup else norms.norm(self.norm, channels, self.dimensions)

    def entry(self) -> list[nn.Module]:
        """Fixup's scalar bias before a layer."""
        return [ScalarBias()] if self.fixup else []

    def multiplier(self) -> list[nn.Module]:
        """Fixup's scalar multiplier of a branch."""
        return [Multiplier()] if self.fixup else []

    def dropout(self) -> list[nn.Module]:
        """Dropout of units, where that is the regulariser."""
        name, rate = regularisers.parse(self.drop)
        return [nn.Dropout(rate)] if name == "dropout" else []

    def residual(
        self,
        number: int,
        branch: nn.Module,
        shortcut: nn.Module | None = None,
        *,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
    ) -> Residual:
        """Block `number`, 1 to `blocks`, by the scheme."""
        scales = scheme(self.scheme, self.blocks)
        return Residual(
            regularisers.regularised(self.drop, branch, number, self.blocks),
            shortcut,
            skip=scales.skip,
            alpha=1.0 if self.fixup else scales.branch,
            learned=self.scheme in LEARNED,
            before=before,
            after=after,
        )

    def classifier(self, features: int, classes: int) -> nn.Module:
        """Mean over space, then a linear layer as torch initialises it; zero for Fixup."""
        linear = nn.Linear(features, classes)
        if self.fixup:
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *self.entry(), linear)

    def _drawn(self, layer: nn.Module, scale: float) -> nn.Module:
        draw_(layer.weight, self.init, scale=scale)  # type: ignore[arg-type]
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        return norms.on_layer(self.norm, layer)


def default_norm(norm: str | None, scheme: SchemeName) -> str:
    """The normaliser asked for, or batch normalisation unless the scheme stands in for it."""
    return norm if norm is not None else ("none" if scheme in WITHOUT_NORM else "batch")
