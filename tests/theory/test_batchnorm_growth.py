"""The gradient's growth through plain batch-normalised layers, against layers simulated in numpy alone."""

import math

import numpy as np
import pytest

from resexp.theory import batchnorm_growth


def test_large_batches_give_the_books_numbers() -> None:
    assert pytest.approx(1.466942, abs=1e-6) == batchnorm_growth.LIMIT
    assert math.sqrt(batchnorm_growth.LIMIT) == pytest.approx(1.211174, abs=1e-6)
    assert batchnorm_growth.linear_bn_relu(10**6) == pytest.approx(batchnorm_growth.LIMIT, rel=1e-5)
    chi, stderr = batchnorm_growth.linear_relu_bn(1024)
    assert chi == pytest.approx(batchnorm_growth.LIMIT, rel=0.003)
    assert stderr < 0.001


def test_the_problems_order_at_64_examples_grows_by_1_23() -> None:
    assert math.sqrt(batchnorm_growth.linear_relu_bn(64)[0]) == pytest.approx(1.229, abs=0.002)


@pytest.mark.parametrize("order", ["linear-relu-bn", "linear-bn-relu"])
def test_growth_of_wide_layers(order: str) -> None:
    """Width 1500, batch 12, eight layers up and six down, a few networks; the middle layers' mean growth."""
    rng, width, batch, depth = np.random.default_rng(9), 1500, 12, 8
    growth = []
    for _ in range(3):
        h = rng.normal(size=(batch, width))
        tape = []
        for _ in range(depth):
            weights = rng.normal(scale=math.sqrt(2 / width), size=(width, width))
            u = h @ weights
            first = np.maximum(u, 0) if order == "linear-relu-bn" else u
            spread = first.std(axis=0)
            spread[spread == 0] = np.inf
            z = (first - first.mean(axis=0)) / spread
            tape.append((weights, u if order == "linear-relu-bn" else z, z, spread))
            h = z if order == "linear-relu-bn" else np.maximum(z, 0)
        g = rng.normal(size=(batch, width))
        squares = [np.mean(g**2)]
        for weights, switch, z, spread in reversed(tape):
            if order == "linear-bn-relu":
                g = g * (switch > 0)
            g = (g - g.mean(axis=0) - z * (z * g).mean(axis=0)) / spread
            if order == "linear-relu-bn":
                g = g * (switch > 0)
            g = g @ weights.T
            squares.append(np.mean(g**2))
        growth.append(np.log(squares[-2] / squares[1]) / (depth - 2))
    said = {
        "linear-relu-bn": batchnorm_growth.linear_relu_bn(batch)[0],
        "linear-bn-relu": batchnorm_growth.linear_bn_relu(batch),
    }[order]
    assert np.mean(growth) == pytest.approx(math.log(said), abs=0.012)
