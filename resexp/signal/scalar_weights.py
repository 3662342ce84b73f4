"""Random numbers of networks with one scalar input, and the powers of two that keep their signals in range."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resexp.core.lab import Lab
from resexp.core.scalar_net import ScalarNet
from resexp.signal.weights import NormalSource

TILE = 8
"""Networks that share one random stream a layer; always drawn whole."""

ROOM = 50.0
"""Binary orders a float32 signal may move between two looks at its range: its norm squares it."""


class ScalarWeights:
    """Weights and biases of tiles of networks; one for each thread, for it keeps its working memory."""

    def __init__(self, lab: Lab, net: ScalarNet) -> None:
        self._net = net
        self._source = NormalSource(lab)
        shape = (TILE, net.width, net.width)
        self._matrices = torch.empty(shape, dtype=lab.torch_dtype, device=lab.torch_device)

    def first(self, tile: int) -> Tensor:
        """Weights of the first layer, (TILE, 1, width)."""
        return self._vectors(self._net.first, "first layer", tile)

    def matrices(self, tile: int, block: int) -> Tensor:
        """Weights into layer block + 1, inputs along dim 1, (TILE, width, width); overwritten by the next call."""
        std = 1.0 if self._net.mirrored else math.sqrt(self._net.gain / self._net.width)
        self._source.fill(self._matrices, std, "weights", tile, block)
        if self._net.mirrored:
            q, r = torch.linalg.qr(self._matrices)
            # Without these signs QR is not uniform over rotations (Mezzadri 2007).
            torch.mul(q, r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1), out=self._matrices)
        return self._matrices

    def add_biases(self, h: Tensor, tile: int, block: int, unit: Tensor | None) -> None:
        """Add the biases of layer block + 1 to h (TILE, points, width); unit: what 1 has become in h, (TILE,).

        A norm over the grid takes them off again, so that they are left out there.
        """
        if self._net.bias > 0 and self._net.norm == "none":
            biases = self._vectors(self._net.bias, "biases", tile, block)
            if unit is not None:
                biases = biases * unit[:, None, None]
            h.add_(biases, alpha=self._net.branch if block else 1.0)

    def readout(self, tile: int) -> Tensor:
        """Weights of the output, (TILE, 1, width); of variance 1 / width, for their scale cancels."""
        return self._vectors(1.0 / self._net.width, "read-out", tile)

    def _vectors(self, variance: float, purpose: str, *position: int) -> Tensor:
        return self._source.draw((TILE, 1, self._net.width), math.sqrt(variance), purpose, *position)


def at_the_mean(net: ScalarNet, x: NDArray[np.float64]) -> slice:
    """The input of the grid at which a norm takes every unit of the first layer, w x, to zero; empty where none is.

    There rounding would decide which units are on: h minus its mean over the grid leaves the error of the mean.
    """
    found = np.flatnonzero(x == math.fsum(x) / len(x)) if net.norm != "none" else np.empty(0, dtype=np.int64)
    return slice(int(found[0]), int(found[0]) + 1) if len(found) else slice(0, 0)


def rescaling_period(net: ScalarNet) -> int:
    """Blocks between two looks at the range: a block's growth at infinite width, and 2.5 orders for a narrow net."""
    growth = math.hypot(net.skip, net.branch * math.sqrt(net.gain / 2))
    return max(1, int(ROOM / (abs(math.log2(growth)) + 2.5)))


def bring_back(x: Tensor) -> Tensor:
    """Multiply each network's x (networks, points, width) by a power of two, in place, so that it is near 1.

    Returns the factors, (networks,). Exact: the digits are those of a type without limits.
    """
    root_mean_square = torch.linalg.vector_norm(x, dim=(1, 2)) / math.sqrt(x.shape[1] * x.shape[2])
    shift = torch.where(root_mean_square > 0, root_mean_square.log2().round().clamp(-120, 120), 0.0)
    factor = torch.exp2(-shift)
    x.mul_(factor[:, None, None])
    return factor


def shrunk(unit: Tensor | None, factor: Tensor) -> Tensor:
    """What 1 has become after one more rescaling; beyond 2**100 biases are nothing beside h."""
    return factor if unit is None else (unit * factor).clamp_(max=2.0**100)


def exponents(factors: list[Tensor], networks: int) -> NDArray[np.int64]:
    """Powers of two that were taken out of a signal by these factors, (networks,)."""
    if not factors:
        return np.zeros(networks, dtype=np.int64)
    return -torch.stack(factors).cpu().double().log2().sum(0).numpy().astype(np.int64)
