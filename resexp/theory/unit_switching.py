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

from resexp.theory.gaussian import kappa0, normal_distribution

DEATHS = 16.0  # in a block, at most, times 2^width: measured up to about 11
DEAD_SHARE = 0.005  # of the networks, beyond which the laws of living ones say nothing
REACH = 10.0
NODES = 2001


def networks_die(depth: int, width: int, inputs: int = 1) -> bool:
    """Whether ReLU networks this narrow and deep die often.

    Once all units are negative, for any of `inputs` that count each, the branch is zero for ever.
    """
    return DEATHS * depth * inputs * 2.0**-width > DEAD_SHARE


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
