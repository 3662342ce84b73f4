"""Residual stacks with batch normalisation first in the branch, ReLU, at infinite width and any batch size B.

    h[k+1] = h[k] + b f(BN(h[k])),   second moment q, batch variance v (biased, mean over units), gain s of the weights

Forward. Units are exchangeable over the examples, so that BN(h) of one unit is uniform on the sphere of radius sqrt B
in the space orthogonal to (1, ..., 1): z_i has mean square 1 and z_i, z_j have correlation c = -1/(B - 1). The second
moment grows by b^2 s/2 a block and the batch variance by b^2 (s/2) (1 - 1/B) (1 - kappa1(c)), which tends to
b^2 (s/2) (1 - 1/pi): the book's "one unit" is the second moment's slope, not the variance's.

Backward. A gradient's second moments over the batch form a B x B matrix G. Backpropagation is linear in G and blind to
the order of the examples, so two numbers suffice: t = tr G and s = 1' G 1. BN's Jacobian is P / sigma with
P = 1 - 11'/B - zz'/B, and E[1/sigma^2] = (B - 1) / ((B - 3) v) for normal h. With p = P(z_i > 0, z_j > 0)

    t <- t + b^2 L(t, s),   s <- s,   p = 1/4 + arcsin(c) / (2 pi),
    L(t, s) = (gain (B - 1) / ((B - 3) v)) [(1/2) (1 - 2/B) t - (p + kappa1(c)/2) (s - t) / B]

and for a two-layer branch L twice (the inner one with s = 0, for BN removes what the batch has in common). Hence the
growth is close to 1 + 1/v_k a block at large B when the directions are independent (s = t), and far smaller for the
gradient of a sum over the batch (s = B t).

Sources: Prince 2023, figure 11.6 c; Yang et al. 2019; De and Smith 2020; derived here, checked in tests/theory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexp.theory.gaussian import kappa1

Array = NDArray[np.floating]


@dataclass(frozen=True)
class BatchNormLimit:
    """Second moment, batch variance, E[h h'] of two examples, for block 0..K, (K + 1,)."""

    second_moment: Array
    batch_variance: Array
    cross_moment: Array


def forward(depth: int, *, batch: int, branch: float, gain: float, order: str) -> BatchNormLimit:
    """Growth of q, v and E[h h'] through `depth` blocks; linear-relu adds the mean of relu(W z) each time."""
    c = -1.0 / (batch - 1)
    block = np.arange(depth + 1)
    square = branch**2 * gain / 2.0
    second_moment = gain + square * block
    if order == "linear-relu":  # u = W z has variance gain; E relu(u) = sqrt(gain / 2 pi), the mean of h adds up
        mean = branch * math.sqrt(gain / (2.0 * math.pi)) * block
        second_moment = second_moment + np.concatenate(
            [[0.0], 2.0 * (mean[1] if depth else 0.0) * np.cumsum(mean[:-1])]
        )
    spread = (1.0 - 1.0 / batch) * (1.0 - float(kappa1(c)))
    batch_variance = gain * (1.0 - 1.0 / batch) + square * spread * block
    cross_moment = second_moment - batch_variance / (1.0 - 1.0 / batch)
    return BatchNormLimit(second_moment, batch_variance, cross_moment)


def mean_slope(branch: float, gain: float) -> float:
    """What each linear-relu block adds to the mean of h: branch sqrt(gain / (2 pi))."""
    return branch * math.sqrt(gain / (2.0 * math.pi))


def gradient(
    batch_variance: Array,
    common: Array,
    *,
    batch: int,
    branch: float,
    gain: float,
    two_layer: bool,
    inner: float,
    blocks: Sequence[int] | None = None,
) -> Array:
    """Squared gradient at some blocks relative to the last, (rows, len(common)).

    batch_variance: (K + 1,); common: s / t at the last block, 1 for independent directions and B for a sum;
    blocks: increasing numbers of those to give, all if not given.
    """
    depth = len(batch_variance) - 1
    rows = list(range(depth + 1) if blocks is None else blocks)
    trace, found = np.ones(len(common)), []
    for k in range(depth, -1, -1):
        if k < depth:
            through = _through_norm(trace, common, batch_variance[k], batch, gain)
            if two_layer:
                # Order of the backward pass: the outer norm first, whose input is W1 relu(z), then the one that sees h.
                hidden = inner**2 * gain / 2.0 * (1.0 - 1.0 / batch) * (1.0 - float(kappa1(-1.0 / (batch - 1))))
                outer = inner**2 * _through_norm(trace, common, hidden, batch, gain)
                through = _through_norm(outer, np.zeros_like(outer), batch_variance[k], batch, gain)
            trace = trace + branch**2 * through
        if rows and k == rows[-1]:
            found.append(trace)
            rows.pop()
    return np.stack(found[::-1])


def _through_norm(trace: Array, total: Array, variance: float, batch: int, gain: float) -> Array:
    """L(t, s): trace after a product with W', the ReLU mask and the Jacobian of BN."""
    c = -1.0 / (batch - 1)
    p = 0.25 + math.asin(c) / (2.0 * math.pi)
    inverse_variance = (batch - 1) / ((batch - 3) * variance)
    own = 0.5 * (1.0 - 2.0 / batch) * trace
    shared = (p + 0.5 * float(kappa1(c))) * (total - trace) / batch
    return np.asarray(gain * inverse_variance * (own - shared))


def common_share_of_loss(limit: BatchNormLimit, *, batch: int, gain: float, nodes: int = 64) -> tuple[Array, Array]:
    """Values and weights of s / t = (sum r)^2 / sum r^2 for least-squares residuals r = f - y, y ~ N(0, 1).

    f = w'h has variance gain q and covariance gain E[h h'] over examples, so (sum r)^2 / B and sum (r - mean r)^2
    are independent chi-square variables with 1 and B - 1 degrees of freedom times their variances.
    """
    between = gain * float(limit.cross_moment[-1])
    within = gain * float(limit.second_moment[-1]) + 1.0 - between
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    joint = (within + batch * between) * points[:, None] ** 2
    # chi-square with B - 1 degrees of freedom by Wilson and Hilferty's cube of a normal
    freedom = batch - 1
    cube = np.maximum(1.0 - 2.0 / (9.0 * freedom) + math.sqrt(2.0 / (9.0 * freedom)) * points, 0.0) ** 3
    spread = within * freedom * cube[None, :]
    share = batch * joint / (joint + spread)
    return share.ravel(), (weights[:, None] * weights[None, :]).ravel()
