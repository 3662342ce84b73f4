"""Networks with one scalar input over a grid, forward: activations, and beside them their derivatives along the input.

    h[1] = w x + bias,   h[k+1] = skip h[k] + branch (W relu(n(h[k])) + bias),   t[k] = dh[k]/dx

n is nothing, centring, or batch normalisation of each unit over the grid, its mean and deviation held fixed. The
tangent t goes forward through the same products as h, so that dy/dx on the whole grid costs one pass, and no memory
in depth.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab
from resexp.core.scalar_net import ScalarNet
from resexp.signal.scalar_weights import TILE, ScalarWeights, bring_back, exponents, rescaling_period, shrunk
from resexp.signal.threads import nothing


class Tangents:
    """Takes tiles of networks forward, one after another, in memory that is allocated once.

    advance: called depth times a tile.
    """

    def __init__(self, lab: Lab, net: ScalarNet, x: NDArray[np.float64], advance: Callable[[], None] = nothing) -> None:
        self._net, self._random, points = net, ScalarWeights(lab, net), len(x)
        self._advance = advance
        self._x = torch.from_numpy(x).to(lab.torch_device, lab.torch_dtype)[:, None]
        # h above, t below: one product serves both.
        self._both = torch.empty((TILE, 2 * points, net.width), dtype=lab.torch_dtype, device=lab.torch_device)
        self._h, self._t = self._both[:, :points], self._both[:, points:]
        self._inputs = torch.empty_like(self._both)
        self._relu, self._slope = self._inputs[:, :points], self._inputs[:, points:]

    def run(self, tile: int) -> tuple[Tensor, NDArray[np.int64]]:
        """Tangents of the features relu(n(h[L])), (TILE, points, width), over 2**exponent of each network, (TILE,).

        The tensor is overwritten by the next call.
        """
        net, unit, factors, period = self._net, None, list[Tensor](), rescaling_period(self._net)
        first = self._random.first(tile)
        torch.mul(self._x, first, out=self._h)
        self._t.copy_(first.expand_as(self._t))
        self._random.add_biases(self._h, tile, 0, unit)
        for block in range(1, net.depth):
            self._activate()
            weights = self._random.matrices(tile, block)
            self._both.baddbmm_(self._inputs, weights, beta=net.skip, alpha=net.branch)
            self._random.add_biases(self._h, tile, block, unit)
            if block % period == 0:
                factors.append(bring_back(self._t))
                if net.norm != "batchnorm":  # elsewhere only the scale of h beside that of the biases matters
                    unit = shrunk(unit, bring_back(self._h))
            self._advance()
        self._activate()
        self._advance()
        return self._slope, exponents(factors, TILE)

    def gradient(self, tile: int) -> Tensor:
        """dy/dx of each network with one random read-out, (TILE, points), up to a scale of each."""
        features, _ = self.run(tile)
        gradient: Tensor = (features * self._random.readout(tile)).sum(2)
        return gradient

    def _activate(self) -> None:
        """Put relu(n(h)) above, its derivative along x below, into the inputs of the next product."""
        if self._net.mirrored:  # W relu(h) - W relu(-h) = W h
            self._inputs.copy_(self._both)
            return
        z = self._h
        if self._net.norm != "none":
            z = torch.sub(self._h, self._h.mean(1, keepdim=True), out=self._relu)
        inverse = _inverse_deviation(z) if self._net.norm == "batchnorm" else None
        torch.clamp_min(z, 0.0, out=self._relu)
        torch.ops.aten.threshold_backward.grad_input(self._t, self._relu, 0.0, grad_input=self._slope)
        if inverse is not None:
            self._inputs.mul_(inverse)


def _inverse_deviation(centred: Tensor) -> Tensor:
    """One over the deviation of each unit over the grid, (networks, 1, width); 0 for a unit that does not vary."""
    deviation = torch.linalg.vector_norm(centred, dim=1, keepdim=True) / math.sqrt(centred.shape[1])
    inverse: Tensor = deviation.masked_fill_(deviation == 0, torch.inf).reciprocal_()
    return inverse
