"""The law of path lengths, against paths written out one by one and against wide networks simulated in numpy alone."""

import math
from itertools import combinations

import numpy as np
import pytest

from resexp.theory import path_lengths, paths
from resexp.theory.path_lengths import BlockRatios

LENGTHS = np.arange(6)


@pytest.mark.parametrize("power", [1, 2])
def test_shares_are_those_of_all_paths_written_out(power: int) -> None:
    ratios = BlockRatios(np.array([0.3, 1.2, 2.0, 0.05, 0.7]), first=1.3)
    sums = [1.0]
    for length in LENGTHS[1:]:
        sets = combinations(ratios.norm**power, length)
        sums.append(1.3**power * sum(math.prod(one) for one in sets))
    expected = np.array(sums) / sum(sums)
    assert ratios.shares(power).at(LENGTHS) == pytest.approx(expected, rel=1e-12)
    assert ratios.log_typical_path(0) == 0.0
    logs = [sum(map(math.log, one)) for one in combinations(ratios.norm, 3)]
    assert ratios.log_typical_path(3) == pytest.approx(np.mean(logs) + math.log(1.3), rel=1e-12)


def test_energies_of_equal_blocks_are_binomial() -> None:
    law = path_lengths.unnormalised(20, skip=0.8, branch=0.3, gain=2.0, width=100)
    lengths = np.arange(21)
    expected = paths.binomial(20, 0.09 / (0.64 + 0.09)).at(lengths)
    assert law.energy.shares(2).at(lengths) == pytest.approx(expected, rel=1e-9)


def test_norms_and_energies_of_small_branches_tell_different_lengths() -> None:
    """A branch of 1/sqrt K: K/(K + 1) branches a path by energy, K/(1 + sqrt K) by norm."""
    law = path_lengths.unnormalised(54, skip=1.0, branch=54**-0.5, gain=2.0, width=10**9)
    assert law.energy.shares(2).mean == pytest.approx(54 / 55, rel=1e-6)
    assert law.mean.shares(1).mean == pytest.approx(54 / (1 + math.sqrt(54)), rel=1e-6)


def test_lengths_that_carry_a_share_are_the_fewest_neighbours() -> None:
    assert path_lengths.carrying([0.05, 0.1, 0.5, 0.3, 0.05], 0.9) == (1, 3)
    assert path_lengths.carrying([0.05, 0.1, 0.5, 0.3, 0.05], 0.5) == (2, 2)
    assert path_lengths.carrying([2, 2, 2, 2], 1.0) == (0, 3)
    assert path_lengths.carrying([0.3, 0.1, 0.3, 0.25, 0.05], 0.5) == (2, 3)
    veit = paths.binomial(54, 0.24 / 1.24).at(np.arange(55))
    assert path_lengths.carrying(veit, veit[5:18].sum()) == (5, 17)


@pytest.mark.parametrize("batchnorm", [False, True])
def test_wide_networks_share_their_gradient_so(batchnorm: bool) -> None:
    """Three blocks of 1,000 units: each of eight paths has the predicted energy, and pairs do not interfere."""
    rng, width, blocks, batch, branch = np.random.default_rng(4), 1000, 3, 8 if batchnorm else 1, 0.7
    law = (
        path_lengths.normalised(blocks, branch=branch, gain=2.0, batch=batch)
        if batchnorm
        else path_lengths.unnormalised(blocks, skip=1.0, branch=branch, gain=2.0, width=width)
    )
    sets = [one for length in range(blocks + 1) for one in combinations(range(blocks), length)]
    grams = []
    for _ in range(6):
        found = _gradients(rng, sets, width, batch, branch, batchnorm=batchnorm)
        grams.append(found @ found.T / (found[0] @ found[0]))  # the first path takes all skips
    gram = np.mean(grams, axis=0)
    squares = law.energy.norm**2
    expected = [np.prod(squares[list(one)]) * (law.energy.first**2 if one else 1.0) for one in sets]
    assert np.diag(gram) == pytest.approx(expected, rel=0.1)
    apart = gram / np.sqrt(np.outer(np.diag(gram), np.diag(gram)))
    assert np.abs(apart - np.eye(len(sets))).max() < 0.08


def _gradients(
    rng: np.random.Generator, sets: list[tuple[int, ...]], width: int, batch: int, branch: float, *, batchnorm: bool
) -> np.ndarray:
    """Gradient through each set of branches, (sets, batch * width)."""
    h = rng.normal(size=(batch, width)) @ rng.normal(scale=math.sqrt(2 / width), size=(width, width))
    kept = []
    for _ in range(3):
        weights = rng.normal(scale=math.sqrt(2 / width), size=(width, width))
        sigma = h.std(axis=0) if batchnorm else np.ones(width)
        z = (h - h.mean(axis=0)) / sigma if batchnorm else h
        kept.append((weights, z, sigma))
        h = h + branch * np.maximum(z, 0) @ weights
    last = rng.normal(size=h.shape)

    def back(one: tuple[int, ...]) -> np.ndarray:
        g = last
        for k in reversed(range(3)):
            if k in one:
                weights, z, sigma = kept[k]
                g = branch * (g @ weights.T) * (z > 0)
                g = (g - g.mean(axis=0) - z * (g * z).mean(axis=0)) / sigma if batchnorm else g
        return g.ravel()

    return np.stack([back(one) for one in sets])
