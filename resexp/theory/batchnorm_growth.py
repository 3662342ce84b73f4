"""Growth of the gradient through plain layers with batch normalisation, ReLU, at infinite width and any batch size B.

    linear-relu-bn:  z' = BN(relu(W z))          linear-bn-relu:  h' = relu(BN(W h))

What reaches a layer's weights is exchangeable over the examples, and so is the B x B matrix of the gradient's second
moments. The Jacobian of BN is P / sigma with P = 1 - 11'/B - zz'/B; it removes what all examples have in common, so
that from the second layer on a layer multiplies the rest by

    chi = gain E[(mean_i m_i P_ii - mean_{i != j} m_i m_j P_ij) / sigma^2],     m = 1(u > 0), u the input of ReLU

For linear-bn-relu z is uniform on a sphere, independent of sigma, and chi is a closed form:

    chi = (B / (B - 3)) [1 - (1 - 2p)/B - (1 - kappa1(c))/B] / (1 - kappa1(c)),
    c = -1 / (B - 1),   p = 1/4 + arcsin(c) / (2 pi)

For linear-relu-bn (problem 11.13's order) z = BN(relu(u)), u normal with all correlations c, and the expectation over
one unit's B inputs is a Monte Carlo integral (u sums to zero over the batch, so that no unit is off for all of it).
Both tend to pi / (pi - 1) = 1.467 as B -> infinity: the gradient's variance; its norm, or standard deviation, grows by
the square root, 1.211.

Sources: Prince 2023, problem 11.13; Yang et al. 2019; derived here, checked against simulation in tests/theory.
"""

import math
from functools import lru_cache

import numpy as np

from resexp.theory.gaussian import kappa1

LIMIT = math.pi / (math.pi - 1.0)
UNITS = 200_000
CHUNK = 4_000_000  # normals drawn at a time


def linear_bn_relu(batch: int) -> float:
    """Growth chi for linear -> BN -> ReLU; batch at least 4."""
    c = -1.0 / (batch - 1)
    p = 0.25 + math.asin(c) / (2.0 * math.pi)
    spread = 1.0 - float(kappa1(c))
    return batch / (batch - 3) * (1.0 - (1.0 - 2.0 * p) / batch - spread / batch) / spread


@lru_cache(maxsize=16)
def linear_relu_bn(batch: int) -> tuple[float, float]:
    """Growth chi for linear -> ReLU -> BN and its standard error; batch at least 5, for the tail is too heavy at 4."""
    rng = np.random.default_rng(11_13)
    values = []
    for units in _chunks(batch):
        u = rng.standard_normal((units, batch))
        u -= u.mean(axis=1, keepdims=True)  # all correlations -1 / (B - 1), as after the BN of the layer before
        values.append(_one_unit(u))
    each = np.concatenate(values)
    return float(each.mean()), float(each.std(ddof=1) / math.sqrt(len(each)))


def _chunks(batch: int) -> list[int]:
    size = max(1, CHUNK // batch)
    return [min(size, UNITS - start) for start in range(0, UNITS, size)]


def _one_unit(u: np.ndarray) -> np.ndarray:
    """2 (mean_i m_i P_ii - mean_{i != j} m_i m_j P_ij) / sigma^2 of each unit, u: (units, B), in units of Var(W z)."""
    batch = u.shape[1]
    scale = batch / (batch - 1)  # Var u is gain; u above has variance 1 - 1/B a component
    relu = np.maximum(u, 0.0)
    active = (u > 0).astype(float)
    centred = relu - relu.mean(axis=1, keepdims=True)
    spread = np.mean(centred**2, axis=1)
    z = centred / np.sqrt(spread)[:, None]
    count = active.sum(axis=1)
    own = count * (1.0 - 1.0 / batch) - (active * z**2).sum(axis=1) / batch
    total = count - count**2 / batch - (active * z).sum(axis=1) ** 2 / batch
    return np.asarray(2.0 * (own / batch - (total - own) / (batch * (batch - 1))) / (2.0 * scale * spread))
