"""ReLU units that are on for all inputs of a batch, for none, or for some, at infinite width.

Over weights, the inputs u_1..u_B of one ReLU are normal with mean zero, and any two have the correlation c >= 0 that
the recursion of infinite_width.py gives for two inputs of the network: u_i = sqrt(c) t + sqrt(1 - c) z_i. Given t they
are independent, so that

    P(all on) = P(all off) = integral of phi(t) Phi(t r)^B dt,      r = sqrt(c / (1 - c))

which is 2^-B at c = 0, 1 / (B + 1) at c = 1/2, 1/2 as c -> 1. Two inputs alone: P(both on) = kappa0(c) / 2, which is
1/4 at c = 0: the co-activation of the shattering laws 2^-L and (3/4)^L.

After batch normalisation u sums to zero over the batch, so that no unit is on or off for all of it, exactly and at any
width, and c = -1/(B - 1): P(both on) = 1/4 + arcsin(c) / (2 pi), a little less than 1/4.

Sources: Balduzzi et al. 2017; Sheppard 1899 for two inputs; derived here, checked against simulation in tests/theory.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexp.theory.gaussian import kappa0

Array = NDArray[np.floating]

REACH = 10.0
NODES = 2001


def normal_distribution(u: ArrayLike) -> Array:
    """Phi(u), the distribution function of a standard normal."""
    return np.asarray(0.5 * (1.0 + _erf(np.asarray(u, dtype=np.float64) * math.sqrt(0.5))))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def share_always_on(correlation: float, batch: int) -> float:
    """P(all of `batch` standard normals of pairwise correlation c >= 0 are positive), and P(none is)."""
    c = min(max(correlation, 0.0), 1.0)
    if c >= 1.0:
        return 0.5
    ratio = math.sqrt(c / (1.0 - c))
    scale = max(1.0, ratio)  # t = u / scale: neither the density nor the power changes faster than u does
    u = np.linspace(-REACH, REACH, NODES)
    density = np.exp(-0.5 * (u / scale) ** 2) / (scale * math.sqrt(2.0 * math.pi))
    on = normal_distribution(u * (ratio / scale)) ** batch
    beyond = 0.5 * math.erfc(REACH / scale * math.sqrt(0.5))
    return float(np.trapezoid(density * on, u) + beyond * on[-1])


def co_activation(correlation: float) -> float:
    """P(both of two standard normals of correlation c are positive)."""
    return float(kappa0(correlation)) / 2.0
