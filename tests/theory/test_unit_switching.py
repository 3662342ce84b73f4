"""Shares of units that switch against sampled normals and known integrals."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from resexp.theory.unit_switching import co_activation, normal_distribution, share_always_on


@pytest.mark.parametrize("batch", [1, 2, 7, 100])
def test_independent_inputs_halve_and_equal_ones_never_part(batch: int) -> None:
    assert share_always_on(0.0, batch) == pytest.approx(2.0**-batch, rel=1e-9)
    assert share_always_on(0.5, batch) == pytest.approx(1 / (batch + 1), rel=1e-7)  # the largest of B + 1 alike
    assert share_always_on(1.0, batch) == 0.5
    assert share_always_on(1 - 1e-12, batch) == pytest.approx(0.5, abs=3e-6)


@pytest.mark.parametrize(("correlation", "batch"), [(0.01, 10), (0.3, 100), (0.9, 1000), (0.999, 10), (0.99999, 10**6)])
def test_the_integral_is_scipys(correlation: float, batch: int) -> None:
    ratio = math.sqrt(correlation / (1 - correlation))
    edges = [-9.0 / max(ratio, 1), *(x / max(ratio, 1) for x in range(9)), 9.0]

    def integrand(t: float) -> float:
        return float(stats.norm.pdf(t) * math.exp(batch * stats.norm.logcdf(t * ratio)))

    expected = sum(integrate.quad(integrand, a, b, epsabs=1e-15)[0] for a, b in itertools.pairwise(edges))
    assert share_always_on(correlation, batch) == pytest.approx(expected, rel=1e-6)


def test_sampled_units() -> None:
    rng, batch, c, units = np.random.default_rng(1), 6, 0.4, 400_000
    u = math.sqrt(c) * rng.standard_normal((units, 1)) + math.sqrt(1 - c) * rng.standard_normal((units, batch))
    on = u > 0
    assert share_always_on(c, batch) == pytest.approx(on.all(axis=1).mean(), abs=5 * math.sqrt(0.07 / units))
    assert co_activation(c) == pytest.approx((on[:, 0] & on[:, 1]).mean(), abs=5 * math.sqrt(0.25 / units))
    assert share_always_on(c, 2) == pytest.approx(co_activation(c), rel=1e-9)
    assert (co_activation(0.0), co_activation(1.0), co_activation(-1.0)) == pytest.approx((0.25, 0.5, 0.0))


def test_normal_distribution_is_scipys() -> None:
    u = np.linspace(-8, 8, 41)
    assert normal_distribution(u) == pytest.approx(stats.norm.cdf(u), abs=1e-15)
