"""Correlations of skip and branch against simulations in numpy that share no code with them or with the engine."""

import math

import numpy as np
import pytest
from scipy import special

from resexp.theory import branch_correlation
from resexp.theory.branch_correlation import (
    MOST_BLOCKS,
    first_block,
    mean_absolute_cosine,
    over_inputs,
    relu_last_cosine,
)


@pytest.mark.parametrize("width", [2, 3, 40, 10_000])
def test_absolute_cosine_is_the_root_of_a_beta_law(width: int) -> None:
    """cos^2 of a random direction is Beta(1/2, (D - 1)/2)."""
    a, b = 0.5, (width - 1) / 2
    for power in (0.5, 1.0):
        expected = special.beta(a + power / 2, b) / special.beta(a, b)
        assert mean_absolute_cosine(width, power) == pytest.approx(expected, rel=1e-9)
    assert mean_absolute_cosine(width) == pytest.approx(math.sqrt(2 / (math.pi * width)), rel=0.3 / width)


@pytest.mark.parametrize("relu_last", [False, True])
def test_first_block_at_width_three(relu_last: bool) -> None:
    """100,000 networks. Covariances over inputs in closed form given the weights: all is normal, so arc-cosines."""
    rng, width, draws = np.random.default_rng(2), 3, 100_000
    v = rng.normal(size=(draws, width, width)) * math.sqrt(2 / width)
    w = rng.normal(size=(draws, width, width)) * math.sqrt(2 / width)
    covariance = v @ v.swapaxes(1, 2)
    if relu_last:
        u = w @ covariance @ w.swapaxes(1, 2)
        crossed = np.einsum("nij,nji->ni", w, covariance) / 2
        branch = np.einsum("nii->ni", u) * (1 - 1 / math.pi) / 2
    else:
        deviation = np.sqrt(np.einsum("nii->ni", covariance))
        scale = deviation[:, :, None] * deviation[:, None, :]
        c = np.clip(covariance / scale, -1, 1)
        relu = scale * (np.sqrt(1 - c**2) + c * (math.pi - np.arccos(c)) - 1) / (2 * math.pi)
        crossed = np.einsum("nij,nji->ni", w, covariance) / 2
        branch = np.einsum("nij,njk,nik->ni", w, relu, w)
    square, product = np.mean(crossed**2, axis=1), np.mean(np.einsum("nii->ni", covariance) * branch, axis=1)
    ratio = square.mean() / product.mean()
    stderr = (square - ratio * product).std() / product.mean() / math.sqrt(draws)
    assert first_block(width) == pytest.approx(ratio, abs=4 * stderr)
    assert stderr < 0.01 * ratio


def simulated(width: int, depth: int, networks: int, *, branch: float, two_layer: bool) -> np.ndarray:
    """D E Cov^2 / E Var Var of each block, (depth, networks), by two halves of the inputs: Cov Cov' has no bias."""
    rng, batch = np.random.default_rng(3), 2 * width
    result = np.empty((2, depth, networks))

    def weights() -> np.ndarray:
        return rng.standard_normal((width, width), dtype=np.float32) * np.float32(math.sqrt(2 / width))

    for n in range(networks):
        h = rng.standard_normal((batch, width), dtype=np.float32) @ weights()
        for k in range(depth):
            r = np.maximum(h, 0)
            if two_layer:
                r = np.maximum(r @ weights(), 0)
            f = r @ weights()
            halves = [(x[0::2] - x[0::2].mean(0), x[1::2] - x[1::2].mean(0)) for x in (h, f)]
            first, second = (np.mean(halves[0][i] * halves[1][i], axis=0) for i in (0, 1))
            product = np.mean(halves[0][0] ** 2, axis=0) * np.mean(halves[1][1] ** 2, axis=0)
            result[:, k, n] = np.mean(first * second), np.mean(product)
            h = h + np.float32(branch) * f
            h /= np.sqrt(np.mean(h**2))
            result[:, k, n] /= np.mean(product)
    return width * result[0]


@pytest.mark.parametrize(("branch", "two_layer"), [(1.0, False), (1.0, True), (0.4, False)])
def test_later_blocks(branch: float, two_layer: bool) -> None:
    """Width 300, where the leading order in 1/width is within a few per cent for some blocks."""
    depth, networks = 5, 24
    samples = simulated(300, depth, networks, branch=branch, two_layer=two_layer)
    measured, stderr = samples.mean(axis=1), samples.std(axis=1, ddof=1) / math.sqrt(networks)
    law = over_inputs(depth, skip=1.0, branch=branch, gain=2.0, two_layer=two_layer)
    allowed = 4 * stderr + (4.0 if two_layer else 2.0) * (law / law[0]) ** 3 / 300 * law
    assert (np.abs(measured - law) < allowed).all(), (measured, law, stderr)
    assert measured[-1] > measured[0] + 5 * stderr[-1]


@pytest.mark.parametrize("kept", [0.9, 0.4])
def test_what_a_unit_sent_and_what_it_is_now_are_not_linear_in_each_other(kept: float) -> None:
    """Cov(relu, relu later)^2: 4,000 units with a mean of their own, covariances over 500 inputs by two halves."""
    rng, units, inputs = np.random.default_rng(5), 4000, 1000
    earlier = branch_correlation._Units(mean_square=0.5, variance=1.0, kept=kept)
    later = branch_correlation._Units(mean_square=0.8, variance=1.5)
    mean = math.sqrt(0.5) * rng.normal(size=(units, 1))
    new_mean = kept * mean + math.sqrt(0.8 - kept**2 * 0.5) * rng.normal(size=(units, 1))
    z = rng.normal(size=(units, inputs))
    x, y = mean + z, new_mean + kept * z + math.sqrt(1.5 - kept**2) * rng.normal(size=(units, inputs))
    halves = [np.maximum(u, 0).reshape(units, 2, -1) for u in (x, y)]
    centred = [u - u.mean(axis=2, keepdims=True) for u in halves]
    covariance = np.sum(centred[0] * centred[1], axis=2) / (inputs / 2 - 1)
    squares = covariance[:, 0] * covariance[:, 1]
    expected, stderr = squares.mean(), squares.std() / math.sqrt(units)
    assert branch_correlation._relu_covariance_square(earlier, later) == pytest.approx(expected, abs=4.5 * stderr)
    linear = (kept * earlier.variance) ** 2 * earlier.on * later.on
    assert abs(expected - linear) > 8 * stderr


@pytest.mark.parametrize("correlation", [0.3, 0.99])
def test_units_without_a_mean_have_the_arc_cosine_kernel(correlation: float) -> None:
    earlier = branch_correlation._Units(mean_square=0.0, variance=2.0, kept=correlation * math.sqrt(1.5))
    later = branch_correlation._Units(mean_square=1e-12, variance=3.0)
    angle = math.acos(correlation)
    covariance = (math.sin(angle) + (math.pi - angle) * correlation - 1) / (2 * math.pi)
    found = branch_correlation._relu_covariance_square(earlier, later)
    assert found == pytest.approx(6.0 * covariance**2, rel=2e-3 if correlation > 0.9 else 1e-6)


def test_law_over_inputs_starts_at_the_first_block_and_does_not_depend_on_a_common_scale() -> None:
    law = over_inputs(8, skip=1.0, branch=1.0, gain=2.0, two_layer=False)
    assert law[0] == pytest.approx(math.pi / (math.pi - 1))
    assert first_block(10**6) * 10**6 == pytest.approx(law[0], rel=1e-5)
    half = math.sqrt(0.5)
    assert over_inputs(8, skip=half, branch=half, gain=2.0, two_layer=False) == pytest.approx(law)
    assert len(over_inputs(1000, skip=1.0, branch=1.0, gain=2.0, two_layer=False)) == MOST_BLOCKS


def test_relu_last_has_the_cosine_of_two_means() -> None:
    rng = np.random.default_rng(4)
    h, f = 0.7 + rng.normal(size=400_000), np.maximum(rng.normal(size=400_000), 0)
    expected = np.mean(h * f) / math.sqrt(np.mean(h**2) * np.mean(f**2))
    assert relu_last_cosine(0.7 / math.sqrt(1 + 0.49)) == pytest.approx(expected, abs=0.01)
