"""Paths through the stack, against autograd: a block's other way is detached, so that only the value stays."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from resexp.core.errors import UsageError
from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.schemes import Scheme
from resexp.signal.branch_paths import EPS, memory, path_gradients
from resexp.signal.stack import Stack
from resexp.signal.weights import NormalSource

BLOCKS, WIDTH = 4, 6
LAB = Lab("path-gradients", seed=5, dtype="float64")


def stack(*, batchnorm: bool) -> Stack:
    scheme = Scheme(1.0 if batchnorm else 0.8, 0.5, batchnorm=batchnorm)
    batch = 5 if batchnorm else 1
    return Stack(BLOCKS, WIDTH, batch, scheme, "relu-linear", Initialisation("he"), "relu", "independent")


def by_autograd(net: Stack, branches: tuple[int, ...]) -> torch.Tensor:
    """Gradient at the first block through these branches and the other skips, (8, batch, width)."""
    source, shape = NormalSource(LAB), (8, net.batch, WIDTH)
    empty = torch.empty(8, WIDTH, WIDTH, dtype=torch.float64)

    def matrices(purpose: str, *position: int) -> torch.Tensor:
        return source.fill_matrices(empty.clone(), net.init, 1.0, purpose, 0, *position)

    first = (source.draw(shape, 1.0, "inputs", 0) @ matrices("first layer")).requires_grad_()
    h = first
    for k in range(BLOCKS):
        z = h
        if net.scheme.batchnorm:
            z = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + EPS).sqrt()
        skip, branch = net.scheme.skip * h, net.scheme.branch * (z.relu() @ matrices("weights", k))
        h = skip.detach() + branch if k in branches else skip + branch.detach()
    (g,) = torch.autograd.grad((h * source.draw(shape, 1.0, "direction", 0)).sum(), first)
    return g


@pytest.mark.parametrize("batchnorm", [False, True])
def test_paths_are_those_of_autograd(batchnorm: bool) -> None:
    net = stack(batchnorm=batchnorm)
    found = path_gradients(LAB, net, 8, paths=3)
    last = NormalSource(LAB).draw((8, net.batch, WIDTH), 1.0, "direction", 0).flatten(1).norm(dim=1).numpy()
    energies = []
    for length in range(BLOCKS + 1):
        gradients = torch.stack([by_autograd(net, one) for one in combinations(range(BLOCKS), length)])
        norms = gradients.flatten(2).norm(dim=2).numpy()  # (sets, networks)
        for network in range(8):
            sampled = np.exp(found.log_norm[network, length])  # (paths,)
            nearest = np.abs(norms[:, network] / last[network] - sampled[:, None]).min(axis=1)
            assert nearest.max() < 1e-9 * sampled.max() + 1e-15
        energies.append(gradients.sum(0).flatten(1).square().sum(1).numpy())
    of_all = np.stack(energies, axis=1)
    shares = found.energy / found.energy.sum(axis=1, keepdims=True)
    assert shares == pytest.approx(of_all / of_all.sum(axis=1, keepdims=True), rel=1e-9, abs=1e-12)


def test_every_set_of_branches_is_drawn_as_often() -> None:
    """Six sets of two of four blocks: their norms in one network, 3,000 times."""
    found = path_gradients(LAB, stack(batchnorm=False), 2, paths=3000)
    _, counts = np.unique(np.round(found.log_norm[0, 2], 9), return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 500).max() < 5 * math.sqrt(500)


def test_deep_paths_keep_their_digits() -> None:
    """A thousand blocks with a branch of a tenth: norms below 10^-1000, and shares that sum to one."""
    deep = Stack(600, 16, 1, Scheme(1.0, 0.1), "relu-linear", Initialisation("he"), "relu", "independent")
    found = path_gradients(Lab("path-gradients"), deep, 2, paths=1)
    assert np.isfinite(found.log_norm).all()
    assert found.log_norm[:, -1].max() < -600 * math.log(10) + 100
    assert np.isfinite(found.energy).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="paths 1000000: about"):
        memory(Lab("path-gradients", memory=10**9), stack(batchnorm=False), 1_000_000)
