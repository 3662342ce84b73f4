"""A residual net of convolutions that keep the size, to send signals through any normaliser.

    h[0] = W x,   h[k+1] = h[k] + W relu(norm(h[k])),       W: 3 x 3, wrapped around the edges, He, no biases

Wrapped edges give every pixel a whole neighbourhood, so that the weights' gain is the same everywhere.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resexp.core.lab import Lab
from resexp.nets import norms
from resexp.nets.batch_norms import BatchRenorm
from resexp.nets.residual import Residual

KERNEL = 3


BATCH_LIKE = ("batch", "ghost", "renorm", "montecarlo")
"""Normalisers whose statistics are of several examples."""


@dataclass(frozen=True)
class Averaged:
    """What a statistic is of, with all of space. examples: of each part of the batch; channels: of one example."""

    examples: tuple[int, ...]
    channels: int


def averaged(text: str, batch: int, channels: int) -> Averaged | None:
    """What the statistics of a normaliser are of; None where there are none of activations."""
    name, number = norms.parse(text)
    if name in {"weight", "none"}:
        return None
    if name == "ghost":
        parts = max(1, batch // (number or norms.WITH_NUMBER["ghost"]))
        return Averaged(tuple(len(range(part, batch, parts)) for part in range(parts)), 1)
    if name in BATCH_LIKE:
        return Averaged((batch,), 1)
    together = {"layer": channels, "instance": 1}.get(name) or channels // norms.groups(channels, number)
    return Averaged((1,) * batch, together)


def normaliser(text: str, channels: int, side: int) -> nn.Module:
    """The named normaliser of images; instance of a single pixel as groups of one channel, which torch lets through."""
    alone = norms.parse(text)[0] == "instance" and side == 1
    return nn.GroupNorm(channels, channels) if alone else norms.norm(text, channels, 2)


class NormalisedNet(nn.Module):
    """Stem and blocks, in training mode; weights are for `fill_` to draw."""

    def __init__(self, text: str, channels: int, depth: int, side: int) -> None:
        super().__init__()
        self.stem = self._convolution(text, channels)
        self.blocks = nn.ModuleList(
            Residual(nn.Sequential(normaliser(text, channels, side), nn.ReLU(), self._convolution(text, channels)))
            for _ in range(depth)
        )
        self.requires_grad_(False)

    @staticmethod
    def _convolution(text: str, channels: int) -> nn.Module:
        layer = nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, padding_mode="circular", bias=False)
        return norms.on_layer(text, layer)

    def convolutions(self) -> list[nn.Module]:
        """The stem and the convolution of each block."""
        return [self.stem, *(block.branch[-1] for block in self.blocks if isinstance(block.branch, nn.Sequential))]

    @torch.no_grad()
    def fill_(self, weights: list[Tensor]) -> None:
        """Give each convolution its weight (channels, channels, 3, 3)."""
        for layer, weight in zip(self.convolutions(), weights, strict=True):
            if isinstance(layer.weight, nn.Parameter):
                layer.weight.copy_(weight)
            else:
                layer.weight = weight  # a parametrisation takes it apart

    def forward(self, x: Tensor) -> list[Tensor]:
        """h[0] ... h[K], (batch, channels, side, side) each."""
        found = [self.stem(x)]
        for block in self.blocks:
            found.append(block(found[-1]))
        return found

    @torch.no_grad()
    def settle(self, x: Tensor) -> None:
        """Let batch renormalisation hold on to the statistics of these examples, as after many steps of training."""
        layers = [module for module in self.modules() if isinstance(module, BatchRenorm)]
        for layer in layers:
            layer.r_max, layer.d_max, layer.momentum = 1.0, 0.0, 1.0
        self(x)
        for layer in layers:
            layer.r_max, layer.d_max, layer.momentum = 3.0, 5.0, 0.0


def he_deviation(channels: int) -> float:
    """Standard deviation of a weight."""
    return math.sqrt(2.0 / (KERNEL**2 * channels))


def memory(lab: Lab, *, channels: int, depth: int, batch: int, side: int) -> int:
    """Bytes of a net, its graph and its gradients on each thread."""
    item = 8 if lab.dtype == "float64" else 4
    weights = (depth + 1) * KERNEL**2 * channels**2
    signals = (depth + 1) * batch * channels * side**2
    return lab.threads * item * (3 * weights + 8 * signals + 4 * KERNEL**2 * batch * channels * side**2)
