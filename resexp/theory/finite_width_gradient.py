"""First corrections in 1/width to the squared gradient of ReLU residual stacks, one input, independent normal weights.

    g[k] = (a + b D[k] W[k]') g[k+1],    D[k] = diag(h[k] > 0),    lambda = b^2 s / (a^2 + b^2 s), s = gain / 2

for a random direction at the last block. |g|^2 at K blocks below it and |t|^2 of a random tangent t sent K blocks up,
t[k+1] = (a + b W[k] D[k]) t[k], have the same mean, tr(J J'), and the same mean square, so that t will do, and what
acts on t is fresh weights. Given h and t, one block multiplies |t|^2 by g (1 + lambda eps + noise) with
eps = sum(t^2 sgn h) / sum(t^2). A unit with positive h hands part of its own relu(h) and t on to itself, which shifts
the variances of its later h and t and their covariance, and with them E[t'^2 sgn h']. With z, z' normals of correlation
r = (1 - lambda)^(m/2), m blocks apart, the three shifts give

    E[sgn z sgn z'] + E[z |z| delta'(z')] + 4 r E[|z| delta(z')]
        = (2/pi) (arcsin r - r sqrt(1 - r^2) + 2 r sqrt(1 - r^2)) = B(r),

the very B of the forward pass (finite_width.py). The second, from the variance of h alone, says that a unit with
positive h, which shakes itself more, changes its sign more often: fewer than half of the units are on. It sums over all
blocks that h has come through, the other two over those that t has: in a block that t meets after n others and h after
p the mean grows by

    g (1 + (lambda^2 / D) (sum_{m=1}^n (B(r_m) - S(r_m)) + sum_{m=1}^p S(r_m))),    S(r) = -(2/pi) r sqrt(1 - r^2)

The fluctuation of log |g|^2 is smaller than that of log q, because t knows nothing of the sign of h:

    D Var = 4 lambda (1 - lambda) + 2 lambda^2 + lambda^2 sum_m C(r_|m|) a block, |m| <= n,
    C(r) = E[sgn(z) t^2 sgn(z') t'^2] = (2/pi) (1 + 2 r^2) arcsin r

At lambda = 1 this is 5/D a layer, as forward. It holds while n is far smaller than D. The Jacobian takes h[k] to h[K],
for the stack is homogeneous, and in simulations stretches no other direction as much by and by: t turns towards h, and
in the end its logarithm fluctuates, and so typically grows, as that of h does. In between the fluctuation goes from the
one law to the other like n / (n + 0.35 D / lambda). That share was read off simulations (lambda 0.08 to 0.8, widths 64
and 256) and is not derived; half the distance between the two laws of growth is declared as the error.

Sources: derived here, checked against simulation in tests/theory; the plain case from Hanin and Nica 2019.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from resexp.theory.finite_width import power_product, sign_power

Array = NDArray[np.floating]

FORGOTTEN = 1e-7  # correlation of h with itself below which a block does not count
TURN = 0.35  # blocks, over D / lambda, in which t turns half way towards h


@dataclass(frozen=True)
class GradientCorrection:
    """Corrections to the logarithms at infinite width, (rows,) each.

    mean: of log E|g|^2; typical: of E log |g|^2; variance: of log |g|^2 over networks;
    error: bound, a block, on what the way from one law of growth to the other leaves open in `typical`.
    """

    mean: Array
    typical: Array
    variance: Array
    error: float


def correction(*, width: int, branch_share: float, below: ArrayLike, depth: int | None = None) -> GradientCorrection:
    """Corrections so many blocks `below` the last one, (rows,). branch_share: lambda, in (0, 1].

    depth: blocks of the net, if the first of them are among the rows; else they count as far away.
    The sums have about 32 / lambda terms, or as many as there are blocks.
    """
    rows = np.asarray(below, dtype=np.int64)
    lags = _lags(branch_share, int(rows.max(initial=0)) if depth is None else depth)
    r = (1.0 - branch_share) ** (0.5 * np.arange(1, lags + 1))
    flips = -2.0 / math.pi * r * np.sqrt(1.0 - r * r)
    drift = np.log1p(branch_share**2 / width * _summed(sign_power(r) - flips))  # in the block met after 0, 1 .. others
    often = branch_share**2 / width * _summed(flips)  # in the block that h comes to after 0, 1 .. lags others
    single = 4.0 * branch_share * (1.0 - branch_share) + 5.0 * branch_share**2
    of_tangent = (single + 2.0 * branch_share**2 * _summed(_sign_product(r))) / width
    of_signal = (single + 2.0 * branch_share**2 * _summed(power_product(r))) / width
    turn = TURN * width / branch_share
    met = np.arange(lags + 1)
    fluctuation = of_tangent + met / (met + turn) * (of_signal - of_tangent)
    distance = float(of_signal[-1] - of_tangent[-1])

    inside, more = np.minimum(rows, lags + 1), np.maximum(rows - lags - 1, 0)
    mean = _summed(drift)[inside] + more * drift[-1]
    mean = mean + (rows * often[-1] if depth is None else _up_to(often, depth) - _up_to(often, depth - rows))
    not_turned = turn * np.log1p(more / (lags + 0.5 + turn))  # sum of turn / (n + turn) over the blocks beyond
    variance = _summed(fluctuation)[inside] + more * of_signal[-1] - not_turned * distance
    return GradientCorrection(mean, mean - 0.5 * variance, variance, 0.25 * distance)


def _lags(share: float, depth: int) -> int:
    """Blocks after which h has forgotten itself."""
    if share >= 1.0:
        return 0
    return min(depth, math.ceil(2.0 * math.log(FORGOTTEN) / math.log1p(-share)))


def _up_to(terms: Array, blocks: ArrayLike) -> Array:
    """Sums of the first so many of terms whose last one repeats for ever."""
    blocks = np.asarray(blocks)
    return np.asarray(_summed(terms)[np.minimum(blocks, len(terms))] + np.maximum(blocks - len(terms), 0) * terms[-1])


def _summed(terms: Array) -> Array:
    """Sums of the first 0, 1, 2 ... terms."""
    return np.concatenate([[0.0], np.cumsum(terms)])


def _sign_product(r: Array) -> Array:
    """E[sgn(z) t^2 sgn(z') t'^2], t and t' of the same correlation as z and z', and independent of them."""
    return np.asarray(2.0 / math.pi * (1.0 + 2.0 * r * r) * np.arcsin(r))
