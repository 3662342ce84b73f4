"""First corrections in 1/width to the second moment of ReLU residual stacks with independent normal weights.

    h[k+1] = a h[k] + b W phi(h[k])   or   a h[k] + b W2 phi(W1 phi(h[k])),   lambda = b^2 s / g,   g = a^2 + b^2 s,

s the branch's growth of the second moment at infinite width (gain / 2 a layer). Write eps = sum(h |h|) / sum(h^2).
Given h, one block multiplies q = |h|^2 / D by g (1 + lambda eps + noise). h is sign-symmetric before the first block
only: a unit with large positive h has drawn its weights from a slightly wider law, so that

    E[q[k]] / E[q[k-1]] = g (1 + lambda T_k),   T_k = (lambda / D) sum_{m=1}^{k-1} B((1 - lambda)^(m/2)),
    B(r) = E[sgn(z') z |z|] = (2/pi) (arcsin r + r sqrt(1 - r^2)),          z, z' normals of correlation r

The fluctuation of log q, for one input or averaged over the inputs of a batch (they share the weights, hence the
covariance of two inputs counts, with their correlations c_k from the infinite-width recursion):

    D Cov(log q_K, log q'_K) = sum_k [4 lambda (1 - lambda) c_k u_k + 2 lambda^2 u_k^2 + lambda^2 v_k]
                               + lambda^2 sum_{i,j} C(c_min(i,j) (1 - lambda)^(|i-j|/2))
    C(r) = E[z |z| z' |z'|] = (2/pi) ((1 + 2 r^2) arcsin r + 3 r sqrt(1 - r^2))

u_k the correlation of the branch's last hidden layer, v_k the extra fluctuation of an inner layer. At lambda = 1, one
input, this is 5/D a layer (Hanin and Nica 2019). log q is close to normal, so its mean is log E[q] - Var/2.
All this is first order in 1/D: errors of a few / D^2 a block remain and are declared as bias by who uses it.

Sources: derived here, checked against simulation in tests/theory; the plain case from Hanin and Nica 2019.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexp.theory.gaussian import kappa1, kappa2

Array = NDArray[np.floating]

MOST_TERMS = 200_000_000
CHUNK = 16_384  # blocks summed at a time, so that memory does not grow with depth
SMALLEST_CORRELATION = 1e-7


@dataclass(frozen=True)
class Correction:
    """Corrections to the infinite-width logarithms at some blocks. mean: of log E[q]; typical: of E[log q]; (rows,)."""

    mean: Array
    typical: Array
    variance: Array


def is_affordable(depth: int, branch_share: float) -> bool:
    """Whether the double sum over blocks stays small; otherwise only the limit is given."""
    return depth * _lags(depth, branch_share) <= MOST_TERMS


def correction(
    *,
    width: int,
    batch: int,
    branch_share: float,
    correlation: Array,
    two_layer: bool,
    blocks: Sequence[int] | None = None,
) -> Correction:
    """Corrections for q averaged over `batch` independent inputs.

    correlation: (K + 1,) of two inputs at infinite width; branch_share: lambda;
    blocks: increasing numbers of those to give corrections of, all if not given.
    """
    depth = len(correlation) - 1
    rows = np.arange(depth + 1) if blocks is None else np.array(blocks)
    lags = _lags(depth, branch_share)
    fade = (1.0 - branch_share) ** (0.5 * np.arange(lags + 1))  # correlation of h with itself m blocks later
    mean = _drift(width, branch_share, fade, depth)[np.minimum(rows, lags + 2)]
    settled = math.log1p(branch_share**2 / width * float(sign_power(fade[1:]).sum()))
    mean = mean + settled * np.maximum(rows - (lags + 2), 0)
    single = _log_variance(np.ones(lags + 2), branch_share, fade, two_layer)
    single = single[np.minimum(rows, lags + 1)] + (single[-1] - single[-2]) * np.maximum(rows - (lags + 1), 0)
    pair = np.zeros(len(rows)) if batch == 1 else _log_variance_at(rows, correlation, branch_share, fade, two_layer)
    first = 4.0 / batch + 2.0 / width  # D Var(log q_0) over inputs and first weights
    variance = (first + single / batch + pair * (1.0 - 1.0 / batch)) / width
    return Correction(mean, mean - 0.5 * variance, variance)


def _drift(width: int, share: float, fade: Array, depth: int) -> Array:
    """Sum of log(1 + lambda T_k) up to block k, for k = 0 .. lags + 2, from where on T_k is the same."""
    tail = np.concatenate([[0.0, 0.0], share / width * np.cumsum(sign_power(fade[1:]))])
    drift = np.concatenate([tail, tail[-1:]]) if depth > 1 else np.zeros(len(tail) + 1)
    return np.cumsum(np.log1p(share * drift))


def _log_variance_at(rows: NDArray[np.int64], c: Array, share: float, fade: Array, two_layer: bool) -> Array:
    """D Cov(log q_k, log q'_k) at some blocks, summed a chunk of blocks at a time."""
    before, total = len(fade) + 1, 0.0
    found = np.empty(len(rows))
    for start in range(0, len(c), CHUNK):
        seen = max(0, start - before)
        sums = _log_variance(c[seen : start + CHUNK], share, fade, two_layer)
        sums = total + sums[start - seen :] - (sums[start - seen - 1] if start else 0.0)
        inside = (rows >= start) & (rows < start + CHUNK)
        found[inside] = sums[rows[inside] - start]
        total = float(sums[-1])
    return found


def _log_variance(c: Array, share: float, fade: Array, two_layer: bool) -> Array:
    """D Cov(log q_k, log q'_k) accumulated from block 0, of two inputs with correlations c; (K + 1,)."""
    hidden = kappa1(c[:-1])
    inner = np.zeros_like(hidden)
    if two_layer:
        inner, hidden = 2.0 * kappa2(hidden) - 1.0, kappa1(hidden)
    steps = 4.0 * share * (1.0 - share) * c[:-1] * hidden + share**2 * (2.0 * hidden**2 + inner)
    asymmetry = power_product(c[:-1])
    for lag in range(1, min(len(fade), len(c) - 1)):
        asymmetry[lag:] += 2.0 * power_product(c[: len(c) - 1 - lag] * fade[lag])
    return np.concatenate([[0.0], np.cumsum(steps + share**2 * asymmetry)])


def _lags(depth: int, share: float) -> int:
    """Blocks after which h has forgotten itself."""
    if share >= 1.0 or share <= 0.0:
        return 0
    return min(depth, math.ceil(2.0 * math.log(SMALLEST_CORRELATION) / math.log1p(-share)))


def sign_power(r: Array) -> Array:
    """E[sgn(z') z |z|]."""
    return np.asarray(2.0 / math.pi * (np.arcsin(r) + r * np.sqrt(1.0 - r * r)))


def power_product(r: Array) -> Array:
    """E[z |z| z' |z'|]."""
    r = np.clip(r, -1.0, 1.0)
    return np.asarray(2.0 / math.pi * ((1.0 + 2.0 * r * r) * np.arcsin(r) + 3.0 * r * np.sqrt(1.0 - r * r)))
