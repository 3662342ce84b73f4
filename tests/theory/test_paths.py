import math
from itertools import product

import numpy as np
import pytest
from scipy import special, stats

from resexp.theory import paths


@pytest.mark.parametrize("blocks", [1, 2, 5, 11])
def test_counts_are_those_of_all_paths_written_out(blocks):
    lengths = [sum(path) for path in product((0, 1), repeat=blocks)]
    assert paths.counts(blocks) == [lengths.count(length) for length in range(blocks + 1)]


def test_counts_stay_exact_far_beyond_float64():
    counts = paths.counts(1500)
    assert counts[700] == math.comb(1500, 700)
    assert sum(counts) == 2**1500


def test_published_shares_of_54_blocks():
    """Veit et al. 2016: lengths 5 to 17 are 0.45 % of all paths, and more than 95 % have 19 to 35 blocks."""
    share = paths.binomial(54, 0.5)
    assert share.between(5, 17) == pytest.approx(0.004536670150778743, rel=1e-12)
    assert 0.95 < share.between(19, 35) < 0.99


def test_decay_that_fits_veit_is_a_quarter():
    """Lengths 5 to 17 carry most of the gradient at r = 0.24, and then nearly all of it."""
    decays = np.arange(0.10, 0.50, 0.01)
    carried = [paths.binomial(54, r / (1 + r)).between(5, 17) for r in decays]
    assert decays[np.argmax(carried)] == pytest.approx(0.24)
    assert max(carried) > 0.97


def test_share_of_paths_against_exact_integers():
    blocks, lengths = 20_000, np.array([0, 1, 9_500, 10_000, 10_700, 20_000])
    counts = [math.comb(blocks, length) for length in lengths.tolist()]
    shares, logs = paths.binomial(blocks, 0.5).at(lengths), paths.log2_counts(blocks, lengths)
    np.testing.assert_allclose(shares, [count / 2**blocks for count in counts], rtol=1e-11, atol=0)
    np.testing.assert_allclose(logs, [math.log2(count) for count in counts], rtol=1e-11, atol=0)


@pytest.mark.parametrize("share", [0.5, 0.24 / 1.24, 1e-6, 0.999])
@pytest.mark.parametrize("blocks", [1, 54, 1_000_000])
def test_binomial_against_scipy(blocks, share):
    ours = paths.binomial(blocks, share)
    weights = stats.binom.pmf(ours.lengths, blocks, share)
    np.testing.assert_allclose(ours.weights, weights, rtol=1e-9, atol=1e-300)
    assert ours.weights.sum() == pytest.approx(1, abs=1e-12)
    assert ours.mean == pytest.approx(blocks * share, rel=1e-12)


@pytest.mark.parametrize(("share", "length"), [(0.0, 0), (1.0, 30)])
def test_sure_branches_leave_one_length(share, length):
    assert paths.binomial(30, share).at(np.arange(31)).tolist() == [float(k == length) for k in range(31)]


def test_poisson_binomial_is_the_energy_of_all_paths_written_out():
    energy = np.random.default_rng(1).uniform(0, 3, size=9)  # (blocks,) of the branch, the skip having 1
    expected = np.zeros(10)
    for path in product((0, 1), repeat=9):
        expected[sum(path)] += np.prod(energy ** np.array(path))
    ours = paths.poisson_binomial(energy / (1 + energy)).at(np.arange(10))
    np.testing.assert_allclose(ours, expected / expected.sum(), rtol=1e-13)


def test_poisson_binomial_of_many_rare_blocks_against_direct_convolution():
    """More than half of these blocks are rare, so both ways of multiplying take part, far into the tail."""
    shares = paths.batchnorm_branch_shares(4000)
    assert np.mean(shares < paths.RARE) > 0.5
    direct = np.ones(1)
    for share in shares:
        direct = np.convolve(direct, [1 - share, share])[:200]
    np.testing.assert_allclose(paths.poisson_binomial(shares).at(np.arange(200)), direct, rtol=1e-12)


def test_batchnorm_law_of_a_million_blocks_against_its_generating_function():
    """The product over k of (v_k + z) / (v_k + 1) is a ratio of Gamma functions."""
    blocks, step = 1_000_000, 1 - 1 / math.pi
    law = paths.poisson_binomial(paths.batchnorm_branch_shares(blocks))
    for z in (0.0, 0.3, 1.0, 2.0, 4.0):
        rise = special.gammaln(blocks + (2 + z) / step) - special.gammaln(blocks + 3 / step)
        generating = math.exp(rise + special.gammaln(3 / step) - special.gammaln((2 + z) / step))
        assert np.polynomial.polynomial.polyval(z, law.weights) == pytest.approx(generating, rel=1e-7)


def test_batchnorm_branch_shares_against_a_simulated_network():
    """h' = h + W relu(BN(h)): variance forward, and squared gradient of the branch backward, in every block."""
    width, batch, blocks = 768, 384, 4
    random = np.random.default_rng(0)
    h = random.normal(size=(batch, width)) @ random.normal(0, math.sqrt(2 / width), (width, width))
    measured = []
    for _ in range(blocks):
        weight = random.normal(0, math.sqrt(2 / width), (width, width))
        deviation = h.std(axis=0)
        z = (h - h.mean(axis=0)) / deviation  # (batch, width)
        cotangent = random.normal(size=(batch, width))
        g = (cotangent @ weight.T) * (z > 0)
        g = (g - g.mean(axis=0) - z * (g * z).mean(axis=0)) / deviation
        branch = (g**2).sum() / (cotangent**2).sum()
        measured.append(branch / (1 + branch))
        h = h + np.maximum(z, 0) @ weight
    np.testing.assert_allclose(measured, paths.batchnorm_branch_shares(blocks), rtol=0.02)


def test_distribution_answers_for_lengths_outside_its_window():
    law = paths.binomial(1_000_000, 0.5)
    lengths = np.array([0, 499_999, 500_000, 1_000_000])
    assert law.at(lengths)[[0, 3]].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(
        law.up_to(lengths), [0.0, (1 - law.at(lengths)[2]) / 2, (1 + law.at(lengths)[2]) / 2, 1.0], rtol=1e-12
    )
    assert law.between(0, 400_000) == 0.0
    assert law.between(600_000, 1_000_000) == 0.0
