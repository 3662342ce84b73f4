"""The first correction in 1/width to the gradient, against tangents sampled by the law of their products."""

import math

import numpy as np
import pytest

from resexp.theory import finite_width_gradient

WIDTH, NETWORKS, BLOCKS = 48, 10_000, 16


@pytest.fixture(scope="module", params=[0.5, 0.2], ids=["lambda 1/2", "lambda 1/5"])
def tangents(request: pytest.FixtureRequest) -> tuple[float, np.ndarray, np.ndarray]:
    """lambda; log |t|^2 over its growth at infinite width, and eps = sum(t^2 sgn h) / sum(t^2), (blocks, networks).

    Given h and t, W relu(h) and W D t are normals with the inner products of relu(h) and D t as covariances.
    """
    share, random = float(request.param), np.random.default_rng(3)
    branch = math.sqrt(share / (1.0 - share))
    h, t = random.standard_normal((2, NETWORKS, WIDTH), dtype=np.float32)
    log, logs, asymmetries = np.zeros(NETWORKS), [], []
    for _ in range(BLOCKS):
        asymmetries.append((np.sign(h) * t * t).sum(1) / (t * t).sum(1))
        x, y = np.maximum(h, 0), t * (h > 0)
        xx, xy, yy = ((a * b).sum(1, keepdims=True) for a, b in ((x, x), (x, y), (y, y)))
        z, other = random.standard_normal((2, NETWORKS, WIDTH), dtype=np.float32)
        scale = branch * math.sqrt(2.0 / WIDTH)
        h = h + scale * np.sqrt(xx) * z
        t = t + scale * (xy / np.sqrt(xx) * z + np.sqrt(np.maximum(yy - xy**2 / xx, 0)) * other)
        norm = np.sqrt((t * t).mean(1, keepdims=True))
        log = log + 2 * np.log(norm[:, 0]) + math.log(1.0 - share)
        h, t = h / np.sqrt((h * h).mean(1, keepdims=True)), t / norm
        logs.append(log)
    return share, np.array(logs), np.array(asymmetries)


def test_mean_grows_faster_by_what_units_hand_on_to_themselves(
    tangents: tuple[float, np.ndarray, np.ndarray],
) -> None:
    """The growth beyond g is lambda times the mean of eps, networks weighted by |t|^2, as far as the sum has come."""
    share, log, asymmetry = tangents
    r = (1 - share) ** (0.5 * np.arange(1, BLOCKS))
    terms = 2 / math.pi * (np.arcsin(r) + r * np.sqrt(1 - r * r))
    drift, _ = finite_width_gradient.per_block(WIDTH, share)
    assert drift == pytest.approx(share**2 / WIDTH * terms.sum(), rel=0.02 if share == 0.5 else 0.25)
    blocks = slice(5, 12)
    measured = (np.exp(log[4:11]) * asymmetry[blocks]).mean(0)  # (networks,)
    expected = share / WIDTH * np.concatenate([[0.0], np.cumsum(terms)])[blocks].mean()
    error = measured.std() / math.sqrt(NETWORKS)
    assert expected > 8 * error  # so that its absence would be seen
    assert measured.mean() == pytest.approx(expected, abs=float(4.5 * error))


def test_logarithm_fluctuates_less_than_the_signals(tangents: tuple[float, np.ndarray, np.ndarray]) -> None:
    share, log, _ = tangents
    _, variance = finite_width_gradient.per_block(WIDTH, share)
    measured = (log[-1] - log[7]).var() / (BLOCKS - 8)
    # The order beyond adds a fifth at this width; the sum over blocks is cut after eight.
    assert 0.75 * variance < measured < 1.25 * variance
    forward = {0.5: 5.44, 0.2: 2.65}[share] / WIDTH
    assert measured < 0.85 * forward


def test_plain_net_is_that_of_hanin_and_nica() -> None:
    assert finite_width_gradient.per_block(100, 1.0) == pytest.approx((0.0, 0.05))
