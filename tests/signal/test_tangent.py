"""dy/dx of scalar networks, forward and backward, against torch's autograd, point by point."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from resexp.core.lab import Lab
from resexp.core.scalar_net import ScalarNet
from resexp.signal.scalar_backward import Gradients
from resexp.signal.scalar_weights import TILE
from resexp.signal.tangent import Tangents
from resexp.signal.weights import NormalSource

NET = ScalarNet(depth=4, width=10, first=2.0, gain=2.0, bias=0.0, skip=0.0, branch=1.0, norm="none")
LAB = Lab("test", dtype="float64")
X = np.linspace(-2, 2, 9)

NETS = [
    {"norm": "centre"},
    {"norm": "centre", "bias": 0.1, "depth": 40, "branch": 0.25, "gain": 60.0},
    {"norm": "batchnorm", "skip": 1.0, "depth": 10},
    {"norm": "batchnorm", "skip": 1.0, "branch": 0.5, "bias": 0.2, "depth": 40},
]


def features(net: ScalarNet, x: Tensor) -> Tensor:
    """relu(n(h[L])) of the first tile, (TILE, points, width), written as in the module docstring."""
    source = NormalSource(LAB)

    def random(variance: float, purpose: str, block: int, rows: int) -> Tensor:
        position = (0,) if purpose == "first layer" else (0, block)
        return source.draw((TILE, rows, net.width), math.sqrt(variance), purpose, *position)

    def normed(h: Tensor) -> Tensor:
        if net.norm == "none":
            return h
        fixed = h if net.differentiated else h.detach()
        centred = h - fixed.mean(1, keepdim=True)
        return centred if net.norm == "centre" else centred / fixed.std(1, unbiased=False, keepdim=True)

    h = x[:, None] * random(net.first, "first layer", 0, 1)
    if net.bias:
        h = h + random(net.bias, "biases", 0, 1)
    for block in range(1, net.depth):
        inner = torch.relu(normed(h)) @ random(net.gain / net.width, "weights", block, net.width)
        if net.bias:
            inner = inner + random(net.bias, "biases", block, 1)
        h = net.skip * h + net.branch * inner
    return torch.relu(normed(h))


@pytest.mark.parametrize(
    "changes",
    [{}, {"bias": 0.1, "depth": 40, "gain": 8.0}, {"skip": 1.0, "branch": 0.5, "bias": 0.2, "depth": 40}, *NETS],
    ids=str,
)
def test_tangents_are_autograds_with_statistics_held(changes: dict[str, Any]) -> None:
    net, x = replace(NET, **changes), torch.from_numpy(X).requires_grad_()
    of_inputs = features(net, x)
    expected = torch.stack(
        [
            torch.autograd.grad(of_inputs[network, :, unit].sum(), x, retain_graph=True)[0]
            for network in range(TILE)
            for unit in range(net.width)
        ]
    )
    got, exponent = Tangents(LAB, net, X).run(0)
    scaled = got.numpy() * np.exp2(exponent)[:, None, None]
    expected = expected.view(TILE, net.width, len(X)).mT.numpy()
    assert scaled == pytest.approx(expected, rel=1e-9, abs=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("changes", NETS, ids=str)
def test_gradients_are_autograds_of_the_sum_over_the_grid(changes: dict[str, Any]) -> None:
    net = replace(NET, **changes, differentiated=True)
    x = torch.from_numpy(X).expand(TILE, -1).clone().requires_grad_()
    readout = NormalSource(LAB).draw((TILE, 1, net.width), net.width**-0.5, "read-out", 0)
    y = torch.stack([features(net, x[network])[network] for network in range(TILE)]) * readout
    y.sum().backward()
    expected = x.grad
    assert expected is not None
    got, exponent = Gradients(LAB, net, X, net.depth).run(0)
    scaled = got[:, :, 0].numpy() * np.exp2(exponent)[:, None]
    assert scaled == pytest.approx(expected.numpy(), rel=1e-8, abs=1e-10 * float(expected.abs().max()))
    assert np.abs(scaled.sum(1)).max() < 1e-9 * np.abs(scaled).max()  # a common shift of all inputs is taken off


@pytest.mark.parametrize("norm", ["centre", "batchnorm"])
def test_rounding_does_not_decide_what_is_on_at_the_kink(norm: Any) -> None:
    """At the mean of the grid every unit of the first layer is 0; in float32 the mean of h is not, by its rounding."""
    net = replace(NET, norm=norm, differentiated=True, depth=3)
    x = np.arange(-24, 25) / 12
    one, other = (Gradients(Lab("test", dtype=d), net, x, net.depth).run(0)[0].double() for d in ("float32", "float64"))
    assert one.numpy() == pytest.approx(other.numpy(), abs=1e-4 * float(other.abs().max()))


def test_mirrored_weights_make_a_linear_net() -> None:
    net = replace(NET, mirrored=True, depth=20)
    tangents, _ = Tangents(Lab("test"), net, X).run(0)
    assert tangents.numpy() == pytest.approx(tangents[:, :1].expand_as(tangents).numpy(), rel=1e-4, abs=1e-6)
