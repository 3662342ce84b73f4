"""Closed forms of residual stacks against simulations that share no code with them or with the engine."""

import math

import numpy as np
import pytest
from scipy import special

from resexp.theory import batchnorm, finite_width, infinite_width

RELU = {"gain": 2.0, "order": "relu-linear", "activation": "relu", "inner": 1.0}


def test_the_books_statements_and_where_they_are_limits() -> None:
    residual = infinite_width.stack(50, skip=1, branch=1, **RELU)
    assert residual.log_second_moment == pytest.approx(np.log(2) * np.arange(1, 52))
    assert -np.diff(residual.log_gradient) == pytest.approx(np.full(50, np.log(2)))
    growth = np.exp(np.diff(residual.log_batch_variance))
    assert growth[0] == pytest.approx(2 - 1 / math.pi)  # 1.68, not 2
    assert growth[-1] == pytest.approx(2, abs=0.1)
    rescaled = infinite_width.stack(50, skip=math.sqrt(0.5), branch=math.sqrt(0.5), **RELU)
    assert rescaled.log_second_moment == pytest.approx(np.full(51, np.log(2)))
    stable = infinite_width.stack(10_000, skip=1, branch=0.01, **RELU)
    assert math.exp(stable.log_second_moment[-1]) / 2 == pytest.approx(math.e, rel=1e-4)


@pytest.mark.parametrize(
    ("order", "activation", "skip"),
    [
        ("relu-linear", "tanh", 1.0),
        ("linear-relu", "relu", 1.0),
        ("linear-relu", "gelu", 0.0),
        ("two-layer", "gelu", 1.0),
    ],
)
def test_recursion_is_what_wide_networks_do(order: str, activation: str, skip: float) -> None:
    """Width 1000, two blocks, 12 networks with two inputs each; numpy alone."""
    rng, width, depth, networks = np.random.default_rng(4), 1000, 2, 12
    phi = {"relu": lambda u: np.maximum(u, 0), "tanh": np.tanh, "gelu": lambda u: u * special.ndtr(u)}[activation]

    def weights() -> np.ndarray:
        return (math.sqrt(2 / width) * rng.standard_normal((networks, width, width), dtype=np.float32)).astype(float)

    h = rng.normal(size=(networks, 2, width)) @ weights()
    limit = infinite_width.stack(depth, skip=skip, branch=1, inner=1, gain=2, order=order, activation=activation)
    for k in range(depth + 1):
        second = np.mean(h**2)
        assert second == pytest.approx(math.exp(limit.log_second_moment[k]), rel=0.06)
        assert np.mean(h[:, 0] * h[:, 1]) / second == pytest.approx(limit.correlation[k], abs=0.04)
        assert np.mean(h) / math.sqrt(second) == pytest.approx(limit.relative_mean[k], abs=0.03)
        if order == "linear-relu":
            branch = phi(h @ weights())
        elif order == "relu-linear":
            branch = phi(h) @ weights()
        else:
            branch = phi(phi(h) @ weights()) @ weights()
        h = skip * h + branch


@pytest.mark.parametrize(("skip", "two_layer"), [(1.0, False), (0.0, False), (1.0, True)])
def test_finite_width_law_of_mean_and_fluctuation(skip: float, two_layer: bool) -> None:
    """Width 64, 10 blocks, 40,000 networks, one input: a float64 simulation of the law of W relu(h) given h.

    Given h, W relu(h) is normal with variance (2/D) |relu(h)|^2 a unit, so no matrix is needed.
    """
    rng, width, depth, draws = np.random.default_rng(5), 64, 10, 40_000
    h = rng.normal(size=(draws, width))
    start = np.log(np.mean(h**2, axis=1))

    def through(x: np.ndarray) -> np.ndarray:
        spread = np.sqrt(2 / width * np.sum(np.maximum(x, 0) ** 2, axis=1, keepdims=True))
        return spread * rng.normal(size=x.shape)

    logs = [start]
    for _ in range(depth):
        h = skip * h + (through(through(h)) if two_layer else through(h))
        logs.append(np.log(np.mean(h**2, axis=1)))
    log = np.stack(logs) - start  # (blocks, draws)
    share = 1.0 if skip == 0 else 0.5
    said = finite_width.correction(
        width=width, batch=1, branch_share=share, correlation=np.ones(depth + 1), two_layer=two_layer
    )
    block = np.arange(depth + 1)
    growth = math.log(skip**2 + 1)
    second_order = 8 * depth / width**2
    first_layer = (4.0 + 2.0 / width) / width
    assert log.mean(axis=1) - growth * block == pytest.approx(said.typical + first_layer / 2, abs=second_order)
    assert (said.typical[-1] + first_layer / 2) < -2 * second_order  # the correction is seen
    assert log.var(axis=1)[-1] == pytest.approx(said.variance[-1] - first_layer, rel=0.1)
    mean = np.log(np.exp(log - growth * block[:, None]).mean(axis=1))
    assert mean[:6] == pytest.approx(said.mean[:6], abs=0.03)


def test_no_skip_gives_five_over_width_a_layer() -> None:
    """Hanin and Nica 2019."""
    said = finite_width.correction(width=100, batch=1, branch_share=1.0, correlation=np.ones(51), two_layer=False)
    assert np.diff(said.variance) * 100 == pytest.approx(np.full(50, 5.0))
    assert said.mean == pytest.approx(np.zeros(51))


def test_batchnorm_slopes_at_any_batch() -> None:
    """The large-batch limits, and a batch of 8 by sampling the normalised units directly."""
    large = batchnorm.forward(50, batch=10**6, branch=1, gain=2, order="relu-linear")
    assert np.diff(large.second_moment) == pytest.approx(np.ones(50))
    assert np.diff(large.batch_variance) == pytest.approx(np.full(50, 1 - 1 / math.pi), rel=1e-4)
    rng, batch = np.random.default_rng(6), 8
    u = rng.normal(size=(400_000, batch))
    z = (u - u.mean(1, keepdims=True)) / u.std(1, keepdims=True)
    relu = np.maximum(z, 0)
    small = batchnorm.forward(1, batch=batch, branch=1, gain=2, order="relu-linear")
    second, common = 2 * np.mean(relu**2), 2 * np.mean(relu.mean(1) ** 2)
    assert small.second_moment[1] - small.second_moment[0] == pytest.approx(second, rel=5e-3)
    assert small.batch_variance[1] - small.batch_variance[0] == pytest.approx(second - common, rel=5e-3)


@pytest.mark.parametrize("common", [1.0, 3.0, 12.0])
def test_batchnorm_gradient_by_sampling_one_unit(common: float) -> None:
    """One block, B = 12: E|g|^2 by drawing units and normal cotangents with the Gram matrix (t, s) directly."""
    batch, variance, draws = 12, 1.5, 300_000
    rng = np.random.default_rng(7)
    own, shared = (batch - common) / (batch - 1), (common - 1) / (batch - 1)  # trace B, sum B common, over B
    cotangent = math.sqrt(2 * own) * rng.normal(size=(draws, batch)) + math.sqrt(2 * shared) * rng.normal(
        size=(draws, 1)
    )
    h = rng.normal(scale=math.sqrt(variance * batch / (batch - 1)), size=(draws, batch))
    deviation = h.std(1, keepdims=True)
    z = (h - h.mean(1, keepdims=True)) / deviation
    u = (z > 0) * cotangent
    back = (u - u.mean(1, keepdims=True) - z * (z * u).mean(1, keepdims=True)) / deviation
    said = batchnorm.gradient(
        np.array([variance, 9.9]), np.array([common]), batch=batch, branch=1, gain=2, two_layer=False, inner=1
    )
    assert said[0, 0] - 1 == pytest.approx(np.mean(back**2), rel=0.02)


def test_common_share_of_the_loss_by_sampling() -> None:
    limit = batchnorm.forward(10, batch=20, branch=1, gain=2, order="relu-linear")
    share, weights = batchnorm.common_share_of_loss(limit, batch=20, gain=2)
    between = 2 * limit.cross_moment[-1]
    within = 2 * limit.second_moment[-1] + 1 - between
    rng = np.random.default_rng(8)
    r = math.sqrt(within) * rng.normal(size=(200_000, 20)) + math.sqrt(between) * rng.normal(size=(200_000, 1))
    sampled = r.sum(1) ** 2 / np.square(r).sum(1)
    assert share @ weights == pytest.approx(sampled.mean(), rel=0.01)
    assert np.square(share) @ weights == pytest.approx(np.square(sampled).mean(), rel=0.02)
