"""Networks with one scalar input over a grid, backward: dy/dx through the statistics of the norm.

    h[1] = w x + bias,   h[k+1] = skip h[k] + branch (W relu(n(h[k])) + bias),   y = w' relu(n(h[L]))

n centres each unit over the grid, or normalises it. Moving one input moves mean and deviation of every layer, and with
them the outputs at all inputs: this is the gradient of sum_j y(x_j) with respect to each x_i, as `y.sum().backward()`
of a network in training mode gives it, the derivative of ReLU at 0 being 0. Through a norm with z = n(h) and deviation
s (1 where it only centres):

    dL/dh_i = (g_i - mean_j g_j - z_i mean_j(z_j g_j)) / s,   the last term with batch normalisation alone

It goes backward, as each input has a derivative of its own. n(h) is kept of a segment of layers at a time, and h at
the start of each segment, from which all but the last go forward a second time; weights are drawn again. Biases are
left out: they are the same over the grid, and every norm takes them off.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab
from resexp.core.scalar_net import ScalarNet
from resexp.signal.layers import BatchNorm, Layer, Scratch
from resexp.signal.scalar_weights import TILE, ScalarWeights, at_the_mean, bring_back, exponents, rescaling_period
from resexp.signal.threads import nothing

WORKING_TENSORS = 5


def segments(depth: int, length: int) -> list[range]:
    """Layers of each segment; layer 0 is the first."""
    return [range(start, min(start + length, depth)) for start in range(0, depth, length)]


def steps(depth: int, length: int) -> int:
    """Layers that a tile goes through, forward and backward."""
    return 2 * depth + sum(map(len, segments(depth, length)[:-1]))


class Gradients:
    """Takes tiles of networks forward and back, one after another, in memory that is allocated once.

    segment: layers kept at a time; the numbers do not depend on it; advance: called steps(depth, segment) times a tile.
    """

    def __init__(
        self, lab: Lab, net: ScalarNet, x: NDArray[np.float64], segment: int, advance: Callable[[], None] = nothing
    ) -> None:
        self._net, self._random, self._period = net, ScalarWeights(lab, net), rescaling_period(net)
        self._advance, self._segments, self._kink = advance, segments(net.depth, segment), at_the_mean(net, x)
        self._x = torch.from_numpy(x).to(lab.torch_device, lab.torch_dtype)[:, None]
        self._h = torch.empty((TILE, len(x), net.width), dtype=lab.torch_dtype, device=lab.torch_device)
        self._g = torch.empty_like(self._h)
        self._starts = [torch.empty_like(self._h) for _ in self._segments[:-1]]
        self._scratch = Scratch(self._h)
        self._norms = [self._norm() for _ in self._segments[0]]

    def _norm(self) -> Layer:
        return Centre(self._h) if self._net.norm == "centre" else BatchNorm(self._h, self._scratch)

    def run(self, tile: int) -> tuple[Tensor, NDArray[np.int64]]:
        """d(sum_j y(x_j))/dx_i of these networks, (TILE, points, 1), over 2**exponent of each, (TILE,)."""
        first = self._random.first(tile)
        features = self._forward(first, tile)
        g, factors = self._g, list[Tensor]()
        g.copy_(self._random.readout(tile).expand_as(g))
        for number in reversed(range(len(self._segments))):
            layers = self._segments[number]
            if number < len(self._starts):
                self._h.copy_(self._starts[number])
                features = self._through(layers, tile)
            for layer in reversed(layers):
                self._back(g, layer, features[layer - layers.start], self._norms[layer - layers.start], tile)
                if layer % self._period == 0:
                    factors.append(bring_back(g))
                self._advance()
        return (g * first).sum(2, keepdim=True), exponents(factors, TILE)

    def _forward(self, first: Tensor, tile: int) -> list[Tensor]:
        """n(h) of each layer of the last segment, (TILE, points, width) each; keeps h where the others start."""
        torch.mul(self._x, first, out=self._h)
        for start, layers in zip(self._starts, self._segments, strict=False):
            start.copy_(self._h)
            self._through(layers, tile)
        return self._through(self._segments[-1], tile)

    def _through(self, layers: range, tile: int) -> list[Tensor]:
        """n(h) of these layers from h of the first of them, which becomes h of the layer after the last."""
        net, h, features = self._net, self._h, list[Tensor]()
        for layer, norm in zip(layers, self._norms, strict=False):
            features.append(norm.forward(h))
            if layer == 0:
                features[0][:, self._kink] = 0.0
            if layer + 1 < net.depth:
                relu = torch.clamp_min(features[-1], 0.0, out=self._scratch.beside(h))
                h.baddbmm_(relu, self._random.matrices(tile, layer + 1), beta=net.skip, alpha=net.branch)
                if layer % self._period == 0 and net.norm == "centre":  # whose gradient does not depend on the scale
                    bring_back(h)
            self._advance()
        return features

    def _back(self, g: Tensor, layer: int, features: Tensor, norm: Layer, tile: int) -> None:
        """Take g, in place, from h of the layer above, or from the features that are read out, to h of this layer."""
        if layer + 1 == self._net.depth:
            _through_norm(g, features, norm)
            return
        inner = torch.bmm(g, self._random.matrices(tile, layer + 1).mT, out=self._scratch.beside(g))
        _through_norm(inner, features, norm)
        g.mul_(self._net.skip).add_(inner, alpha=self._net.branch)


def _through_norm(g: Tensor, features: Tensor, norm: Layer) -> None:
    """Take g, in place, from relu(n(h)) to h."""
    torch.ops.aten.threshold_backward.grad_input(g, features, 0.0, grad_input=g)
    norm.backward(g)


class Centre:
    """Each unit minus its mean over the grid."""

    def __init__(self, like: Tensor) -> None:
        self._output = torch.empty_like(like)

    def forward(self, x: Tensor) -> Tensor:
        """X centred."""
        return torch.sub(x, x.mean(1, keepdim=True), out=self._output)

    def backward(self, g: Tensor) -> Tensor:
        """G centred, in place."""
        return g.sub_(g.mean(1, keepdim=True))
