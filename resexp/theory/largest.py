"""The largest of D magnitudes in a ReLU residual stack, which leaves the range of a number format first.

    P(max |h| <= x) = P(|h_1| <= x)^D,    units alike and independent

An activation is normal. The gradient of a unit is normal given the blocks in which the unit is on, with a variance v of
its own, for a block hands the gradient back through units that are on:

    v[k] = (1 - lambda) v[k+1] + 2 lambda 1(h[k] > 0),    E v = 1,    corr(h[k], h[k+1]) = sqrt(1 - lambda)

In a plain net v is 0 or 2, so that the gradient's largest is about as large as that of half as many units of twice the
variance. With a skip connection v lies between; its law is sampled, with random numbers of its own.

Sources: derived here, checked against simulation in tests/theory.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from resexp.theory.gaussian import normal_distribution

Array = NDArray[np.floating]

SAMPLED = 4096  # units whose v is followed ...
CLASSES = 64  # ... and sorted into so many classes of about one v
MEMORY = 12.0  # blocks times lambda after which v has forgotten its start

_X = np.linspace(0.02, 10.0, 500)
_LOG_X = np.log(_X) - 0.5 * (_X[1] - _X[0]) / _X  # middle of the interval before x


@lru_cache(maxsize=64)
def log_activation(units: int) -> tuple[float, float]:
    """Mean and variance of the log of the largest activation over the root mean square."""
    return _moments(_within(_X, 1.0), units)


@lru_cache(maxsize=64)
def log_gradient(units: int, branch_share: float, blocks: int) -> tuple[float, float]:
    """Mean and variance of the log of the largest gradient over its root mean square, `blocks` below the last one."""
    variances = np.sort(_gradient_variances(branch_share, blocks)).reshape(CLASSES, -1).mean(axis=1)
    deviations = np.sqrt(np.maximum(variances / variances.mean(), 1e-12))
    return _moments(_within(_X[:, None], deviations).mean(axis=1), units)


def _gradient_variances(share: float, blocks: int) -> Array:
    random = np.random.default_rng(0)
    h, v = random.standard_normal(SAMPLED), np.ones(SAMPLED)
    for _ in range(min(blocks, math.ceil(MEMORY / share))):
        v = (1.0 - share) * v + 2.0 * share * (h > 0)
        h = math.sqrt(1.0 - share) * h + math.sqrt(share) * random.standard_normal(SAMPLED)
    return v


def _moments(single: Array, units: int) -> tuple[float, float]:
    """Mean and variance of the log of the largest of `units`; single: P(one <= x) on the grid of x."""
    probability = np.diff(np.concatenate([[0.0], single**units]))
    probability /= probability.sum()
    mean = float(probability @ _LOG_X)
    return mean, float(probability @ _LOG_X**2) - mean**2


def _within(x: Array, deviation: Array | float) -> Array:
    """P(|z| <= x / deviation), z standard normal."""
    return 2.0 * normal_distribution(x / deviation) - 1.0
