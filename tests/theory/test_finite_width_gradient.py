"""The first correction in 1/width to the gradient, against tangents sampled by the law of their products."""

import math
from collections.abc import Iterable

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


def _from_the_input(share: float, blocks: Iterable[int]) -> finite_width_gradient.GradientCorrection:
    """Of tangents that start at the input and come through so many blocks, as those of the fixture do."""
    parts = [finite_width_gradient.correction(width=WIDTH, branch_share=share, below=[n], depth=n) for n in blocks]
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in ("mean", "typical", "variance")]
    return finite_width_gradient.GradientCorrection(*arrays, error=parts[-1].error)


def test_fewer_than_half_of_the_units_are_on_behind_many_blocks(
    tangents: tuple[float, np.ndarray, np.ndarray],
) -> None:
    """One block below the last the squared gradient grows by g (1 + lambda E sgn h), and E sgn h is below zero."""
    share, _, _ = tangents
    random, branch = np.random.default_rng(11), math.sqrt(share / (1.0 - share))
    h = random.standard_normal((40_000, WIDTH), dtype=np.float32)
    for _ in range(BLOCKS - 1):
        spread = np.sqrt(2.0 / WIDTH * np.square(np.maximum(h, 0)).sum(1, keepdims=True))
        h = h + branch * spread * random.standard_normal(h.shape, dtype=np.float32)
    signs = np.sign(h).mean(1)
    said = finite_width_gradient.correction(width=WIDTH, branch_share=share, below=[1], depth=BLOCKS).mean[0]
    error = share * float(signs.std()) / math.sqrt(len(signs))
    assert said < -4.5 * error  # so that its absence would be seen
    assert share * float(signs.mean()) == pytest.approx(said, abs=4.5 * error + 4.0 * share / WIDTH**2)


def test_mean_grows_faster_by_what_units_hand_on_to_themselves(
    tangents: tuple[float, np.ndarray, np.ndarray],
) -> None:
    """The growth beyond g is lambda times the mean of eps, networks weighted by |t|^2, as far as the sum has come."""
    share, log, asymmetry = tangents
    r = (1 - share) ** (0.5 * np.arange(1, BLOCKS))
    terms = 2 / math.pi * (np.arcsin(r) + r * np.sqrt(1 - r * r))
    said = _from_the_input(share, range(BLOCKS + 1))
    sums = np.concatenate([[0.0], np.cumsum(terms)])
    assert np.diff(said.mean) == pytest.approx(np.log1p(share**2 / WIDTH * sums), rel=0.02)
    blocks = slice(5, 12)
    measured = (np.exp(log[4:11]) * asymmetry[blocks]).mean(0)  # (networks,)
    expected = share / WIDTH * np.concatenate([[0.0], np.cumsum(terms)])[blocks].mean()
    error = measured.std() / math.sqrt(NETWORKS)
    assert expected > 8 * error  # so that its absence would be seen
    assert measured.mean() == pytest.approx(expected, abs=float(4.5 * error))


def test_logarithm_fluctuates_less_than_the_signals(tangents: tuple[float, np.ndarray, np.ndarray]) -> None:
    share, log, _ = tangents
    said = _from_the_input(share, [8, BLOCKS])
    measured, variance = log[-1].var() - log[7].var(), said.variance[1] - said.variance[0]
    assert measured == pytest.approx(variance, rel=0.2)  # the order beyond
    forward = {0.5: 5.44, 0.2: 2.65}[share] / WIDTH * (BLOCKS - 8)
    assert measured < 0.85 * forward


def test_typical_growth_goes_from_the_tangents_law_to_the_signals(
    tangents: tuple[float, np.ndarray, np.ndarray],
) -> None:
    """First order in 1/D: what is left over is below half the distance of the laws, and far below the correction."""
    share, log, _ = tangents
    said = _from_the_input(share, range(1, BLOCKS + 1))
    left = np.abs(log.mean(1) + 1.0 / WIDTH - said.typical) / np.arange(1, BLOCKS + 1)
    assert (left < said.error + 8.0 * share / WIDTH**2).all()
    assert left[-1] < 0.25 * abs(said.typical[-1]) / BLOCKS


def test_sums_over_many_blocks_are_those_over_each() -> None:
    every = finite_width_gradient.correction(width=64, branch_share=0.5, below=np.arange(3001))
    few = finite_width_gradient.correction(width=64, branch_share=0.5, below=[0, 30, 3000])
    turn, steps, n = finite_width_gradient.TURN * 64 / 0.5, np.diff(every.variance), np.arange(40, 3000)
    distance = 4.0 * every.error
    signals = steps[40] + distance * turn / (40 + turn)  # as of when h has forgotten itself
    assert steps[40:] == pytest.approx(signals - distance * turn / (n + turn), rel=1e-5)
    for name in ("mean", "typical", "variance"):
        assert getattr(few, name) == pytest.approx(getattr(every, name)[[0, 30, 3000]], rel=1e-12)


def test_plain_net_is_that_of_hanin_and_nica() -> None:
    said = finite_width_gradient.correction(width=100, branch_share=1.0, below=[1, 50])
    assert said.mean == pytest.approx([0.0, 0.0])
    assert said.variance == pytest.approx([0.05, 2.5])
