"""Tangents beside the activations, against torch's autograd, point by point."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from resexp.core.lab import Lab
from resexp.signal.tangent import TILE, ScalarNet, tangent_products
from resexp.signal.weights import NormalSource

NET = ScalarNet(4, 10, 2.0, 2.0, 0.0, 0.0, 1.0, "none", mirrored=False)
X = np.linspace(-2, 2, 9)


def by_autograd(lab: Lab, net: ScalarNet) -> np.ndarray:
    """Products of f'(x_i) f'(x_j), f the last features of the first tile, statistics of norms held fixed."""
    source = NormalSource(lab)
    x = torch.from_numpy(X).requires_grad_()
    h = x[:, None] * source.draw((TILE, 1, net.width), math.sqrt(net.first), "first layer", 0)

    def biased(h: torch.Tensor, block: int) -> torch.Tensor:
        if net.bias == 0:
            return h
        return h + source.draw((TILE, 1, net.width), math.sqrt(net.bias), "biases", 0, block) * (
            net.branch if block else 1.0
        )

    def normed(h: torch.Tensor) -> torch.Tensor:
        fixed = h.detach()
        if net.norm == "none":
            return h
        centred = h - fixed.mean(1, keepdim=True)
        return centred / fixed.std(1, unbiased=False, keepdim=True) if net.norm == "batchnorm" else centred

    h = biased(h, 0)
    for block in range(1, net.depth):
        weights = source.draw((TILE, net.width, net.width), math.sqrt(net.gain / net.width), "weights", 0, block)
        h = biased(net.skip * h + net.branch * torch.relu(normed(h)) @ weights, block)
    features = torch.relu(normed(h))  # (TILE, points, width)
    tangents = torch.zeros_like(features)
    for network in range(TILE):
        for unit in range(net.width):
            (g,) = torch.autograd.grad(features[network, :, unit].sum(), x, retain_graph=True)
            tangents[network, :, unit] = g
    return (tangents @ tangents.mT).detach().numpy() / net.width


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bias": 0.1, "depth": 12},
        {"skip": 1.0, "branch": 0.5, "bias": 0.2},
        {"norm": "centre"},
        {"norm": "batchnorm", "skip": 1.0, "depth": 10},
    ],
    ids=str,
)
def test_tangents_are_autograds(changes: dict[str, Any]) -> None:
    net, lab = replace(NET, **changes), Lab("test", dtype="float64")
    got, expected = tangent_products(lab, net, X, TILE), by_autograd(lab, net)
    scale = expected[0, 0, 0] / got[0, 0, 0]  # one power of two for all networks
    assert math.log2(scale) == pytest.approx(round(math.log2(scale)), abs=1e-9)
    assert got * scale == pytest.approx(expected, rel=1e-9, abs=1e-12 * np.abs(expected).max())


def test_mirrored_weights_make_a_linear_net() -> None:
    net = replace(NET, mirrored=True, depth=20)
    products = tangent_products(Lab("test"), net, X, 4)
    assert products == pytest.approx(np.broadcast_to(products[:, :1, :1], products.shape), rel=1e-4)


def test_networks_do_not_depend_on_how_many_are_drawn() -> None:
    many, few = (tangent_products(Lab("test"), NET, X, draws) for draws in (24, 3))
    scale = many[0, 0, 0] / few[0, 0, 0]
    assert math.log2(scale) == round(math.log2(scale))
    assert np.array_equal(many[:3], few * scale)
