"""Closed forms of residual stacks against simulations that share no code with them or with the engine."""

import math

import numpy as np
import pytest
from scipy import special

from resexp.theory import batchnorm, finite_width, infinite_width, residual_stack, stack_limit
from resexp.theory.infinite_width import Block

RELU = {"gain": 2.0, "order": "relu-linear", "activation": "relu", "inner": 1.0}


def test_the_books_statements_and_where_they_are_limits() -> None:
    residual = infinite_width.stack(50, Block(skip=1, branch=1, **RELU))
    assert residual.log_second_moment == pytest.approx(np.log(2) * np.arange(1, 52))
    assert -np.diff(residual.log_gradient) == pytest.approx(np.full(50, np.log(2)))
    growth = np.exp(np.diff(residual.log_batch_variance))
    assert growth[0] == pytest.approx(2 - 1 / math.pi)  # 1.68, not 2
    assert growth[-1] == pytest.approx(2, abs=0.1)
    rescaled = infinite_width.stack(50, Block(skip=math.sqrt(0.5), branch=math.sqrt(0.5), **RELU))
    assert rescaled.log_second_moment == pytest.approx(np.full(51, np.log(2)))
    stable = infinite_width.stack(10_000, Block(skip=1, branch=0.01, **RELU))
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
    limit = infinite_width.stack(depth, Block(skip, 1, 1, 2, order, activation))
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


@pytest.mark.parametrize("two_layer", [False, True], ids=["one layer", "two layers"])
def test_finite_width_law_of_a_batch(two_layer: bool) -> None:
    """Width 64, 8 blocks, 10,000 networks, 4 inputs: the weights that inputs share make their norms move together."""
    rng, width, batch, depth, draws = np.random.default_rng(9), 64, 4, 8, 10_000
    h = math.sqrt(2) * rng.normal(size=(draws, batch, width))
    h = h * np.sqrt(np.mean(rng.normal(size=(draws, batch, width)) ** 2, axis=2, keepdims=True))
    start = np.log(np.mean(h**2, axis=(1, 2)))

    def through(x: np.ndarray) -> np.ndarray:
        on = np.maximum(x, 0)
        gram = 2 / width * on @ on.transpose(0, 2, 1) + 1e-12 * np.eye(batch)
        return np.linalg.cholesky(gram) @ rng.normal(size=x.shape)

    for _ in range(depth):
        h = h + (through(through(h)) if two_layer else through(h))
    log = np.log(np.mean(h**2, axis=(1, 2))) - start - depth * math.log(2)
    order = "two-layer" if two_layer else "relu-linear"
    correlation = infinite_width.stack(depth, Block(1, 1, 1, 2, order, "relu")).correlation
    said = finite_width.correction(
        width=width, batch=batch, branch_share=0.5, correlation=correlation, two_layer=two_layer
    )
    variance, typical = said.variance[-1] - said.variance[0], said.typical[-1] - said.typical[0]
    assert log.var() == pytest.approx(variance, rel=0.05 if two_layer else 0.1)
    assert log.mean() == pytest.approx(typical, abs=residual_stack.SECOND_ORDER * depth / width**2)
    alone = finite_width.correction(
        width=width, batch=1, branch_share=0.5, correlation=np.ones(depth + 1), two_layer=two_layer
    )
    assert variance < 0.7 * (alone.variance[-1] - alone.variance[0])  # so that one input's law would be seen
    assert variance > 1.5 * (alone.variance[-1] - alone.variance[0]) / batch  # and that of independent ones


@pytest.mark.parametrize("batch", [1, 3])
def test_sums_are_the_same_in_pieces_and_at_few_blocks(batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    depth, rows = 900, [0, 1, 40, 63, 64, 65, 200, 899, 900]
    correlation = infinite_width.stack(depth, Block(1, 0.5, 1, 2, "relu-linear", "relu")).correlation
    arguments = {"width": 50, "batch": batch, "branch_share": 0.2, "correlation": correlation, "two_layer": False}
    whole = finite_width.correction(**arguments)
    monkeypatch.setattr(finite_width, "CHUNK", 64)
    pieces = finite_width.correction(**arguments, blocks=rows)
    for name in ("mean", "typical", "variance"):
        assert getattr(pieces, name) == pytest.approx(getattr(whole, name)[rows], rel=1e-9, abs=1e-12), name
    r = 0.8 ** (0.5 * np.arange(1, depth))
    drift = 0.04 / 50 * np.concatenate([[0.0], np.cumsum(2 / math.pi * (np.arcsin(r) + r * np.sqrt(1 - r * r)))])
    assert whole.mean == pytest.approx(np.concatenate([[0.0], np.cumsum(np.log1p(drift))]), rel=1e-5)


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


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_scale_feeds_back_into_growth_where_growth_depends_on_it(activation: str) -> None:
    """Width 64, 20 rescaled blocks, one input: networks drift from the limit, by no more than is declared.

    What is declared for ReLU would be too little for GELU, whose growth rises with scale.
    """
    rng, width, depth, draws = np.random.default_rng(10), 64, 20, 4_000
    phi = {"tanh": np.tanh, "gelu": lambda u: u * special.ndtr(u)}[activation]
    block = Block(math.sqrt(0.5), math.sqrt(0.5), 1, 2, "relu-linear", activation)
    h = math.sqrt(2) * rng.normal(size=(draws, width))
    h = h * np.sqrt(np.mean(rng.normal(size=(draws, width)) ** 2, axis=1, keepdims=True))
    logs = [np.log(np.mean(h**2, axis=1))]
    for _ in range(depth):
        spread = np.sqrt(2 / width * np.sum(phi(h) ** 2, axis=1, keepdims=True))
        h = block.skip * h + block.branch * spread * rng.normal(size=h.shape)
        logs.append(np.log(np.mean(h**2, axis=1)))
    log = np.stack(logs)
    limit = infinite_width.stack(depth, block)
    gap = np.diff(log.mean(axis=1)) - np.diff(limit.log_second_moment)
    error = np.diff(log, axis=0).std(axis=1) / math.sqrt(draws)
    theory = stack_limit.StackLimit(
        depth=depth,
        blocks=tuple(range(depth + 1)),
        width=width,
        batch=1,
        skip=block.skip,
        branch=block.branch,
        inner=1,
        gain=2,
        order="relu-linear",
        activation=activation,
        cotangent="loss",
        batch_normalised=False,
        independent_weights=True,
    )
    assert theory.shifts is not None
    declared = theory.forward_bound + np.diff(theory.shifts.second_moment)
    assert (np.abs(gap) < declared + 4.5 * error).all()
    assert (np.abs(gap).max() > 1.1 * theory.forward_bound) == (activation == "gelu")
