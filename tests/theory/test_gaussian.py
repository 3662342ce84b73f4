"""Gaussian expectations against scipy's integration."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special, stats

from resexp.theory import gaussian

FUNCTIONS = {
    "relu": (lambda u: np.maximum(u, 0), lambda u: 1.0 * (u > 0)),
    "linear": (lambda u: u, lambda u: 1.0 + 0 * u),
    "tanh": (np.tanh, lambda u: 1 / np.cosh(np.clip(u, -300, 300)) ** 2),
    "gelu": (lambda u: u * special.ndtr(u), lambda u: special.ndtr(u) + u * stats.norm.pdf(u)),
}


@pytest.mark.parametrize("variance", [0.01, 2.0, 80.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_single_expectations(name: str, variance: float) -> None:
    value, derivative = FUNCTIONS[name]
    root = math.sqrt(variance)

    def expect(f) -> float:  # type: ignore[no-untyped-def]
        pieces = [-12, -1 / root, 0, 1 / root, 12] if root > 0.1 else [-12, 0, 12]
        return sum(
            integrate.quad(lambda z: f(root * z) * stats.norm.pdf(z), a, b, epsabs=1e-13)[0]
            for a, b in itertools.pairwise(pieces)
        )

    assert gaussian.mean(name, variance) == pytest.approx(expect(value), rel=1e-8, abs=1e-10)
    assert gaussian.square(name, variance) == pytest.approx(expect(lambda u: value(u) ** 2), rel=1e-8)
    assert gaussian.derivative_square(name, variance) == pytest.approx(expect(lambda u: derivative(u) ** 2), rel=1e-8)


@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.6, 0.99])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_products(name: str, correlation: float) -> None:
    value, variance = FUNCTIONS[name][0], 2.0
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    weights = weights / weights.sum()
    x = math.sqrt(variance) * nodes
    y = correlation * x[:, None] + math.sqrt(1 - correlation**2) * x
    oracle = weights @ (value(x) * (value(y) @ weights))
    tolerance = 2e-3 if name == "relu" else 1e-7  # the kink spoils the quadrature, not the closed form
    assert gaussian.product(name, variance, correlation) == pytest.approx(oracle, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("freedom", [1, 2, 7, 30, 1001])
def test_mean_log_chi_square_is_scipys_digamma(freedom: int) -> None:
    expected = special.digamma(freedom / 2) - math.log(freedom / 2)
    assert gaussian.mean_log_chi_square(freedom) == pytest.approx(expected, rel=1e-12)


def test_kappas_at_the_ends_and_by_sampling() -> None:
    assert (gaussian.kappa0(1.0), gaussian.kappa1(1.0), gaussian.kappa2(1.0)) == pytest.approx((1, 1, 3))
    assert (gaussian.kappa0(-1.0), gaussian.kappa1(-1.0), gaussian.kappa2(-1.0)) == pytest.approx((0, 0, 0))
    z = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.4], [0.4, 1]], size=1_000_000).T
    relu = np.maximum(z, 0)
    assert gaussian.kappa0(0.4) == pytest.approx(2 * np.mean((z > 0).all(axis=0)), abs=0.005)
    assert gaussian.kappa1(0.4) == pytest.approx(2 * np.mean(relu[0] * relu[1]), abs=0.01)
    assert gaussian.kappa2(0.4) == pytest.approx(2 * np.mean((relu[0] * relu[1]) ** 2), abs=0.03)
