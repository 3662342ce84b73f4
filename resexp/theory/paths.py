"""Paths through K residual blocks by length: how many there are, and how much of the gradient's energy they carry.

A path takes the branch or the skip connection in each block; its length is the number of branches it takes.
If block k gives its branch the share p_k of the gradient's energy, and branches are independent and zero-mean so
that paths do not interfere, the weight of the paths of length l is P(sum of Bernoulli(p_k) = l): the binomial law
where all blocks are alike, the Poisson-binomial law where they are not. The number of paths is the first with p = 1/2.

Sources: Prince 2023, problem 11.2; Loader 2000 for the binomial law by Stirling's formula and its error terms;
Bernstein's inequality for the lengths that matter; Newton's identities for the sum of many rare events.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Lengths = NDArray[np.int64]

LOG_LEAST_FLOAT = -745.2
"""Natural logarithm below which a float64 is zero."""
RARE = 1e-3
"""Below this probability an event is summed with others through Newton's identities, which need small odds."""
POWER_SUMS = 16


@dataclass(frozen=True)
class LengthDistribution:
    """Weights of the lengths `first`, `first + 1`...; every other length weighs less than a float64 holds.

    weights: (window,), sum 1.
    """

    first: int
    weights: Array

    @property
    def lengths(self) -> Lengths:
        """Lengths the weights belong to, (window,)."""
        return np.arange(self.first, self.first + len(self.weights), dtype=np.int64)

    @property
    def mean(self) -> float:
        """Mean length."""
        return float(self.lengths @ self.weights)

    def at(self, lengths: Lengths) -> Array:
        """Weight of each of the lengths, in their shape."""
        place = lengths - self.first
        inside = (place >= 0) & (place < len(self.weights))
        return np.where(inside, self.weights[np.where(inside, place, 0)], 0.0)

    def up_to(self, lengths: Lengths) -> Array:
        """Weight of all paths no longer than each of the lengths, in their shape."""
        cumulative = np.concatenate([[0.0], np.cumsum(self.weights)])
        return cumulative[np.clip(lengths - self.first + 1, 0, len(self.weights))]

    def between(self, shortest: int, longest: int) -> float:
        """Weight of all paths from the shortest to the longest length, both included."""
        low, high = max(shortest - self.first, 0), max(longest - self.first + 1, 0)
        return float(self.weights[low:high].sum())

    def at_least(self, weight: float) -> Lengths:
        """Lengths that weigh at least so much."""
        return self.lengths[self.weights >= weight]


def counts(blocks: int) -> list[int]:
    """Exact number of paths of each length 0..K: C(K, l+1) = C(K, l) (K - l) / (l + 1)."""
    return list(accumulate(range(blocks), lambda count, length: count * (blocks - length) // (length + 1), initial=1))


def log2_counts(blocks: int, lengths: Lengths) -> Array:
    """Base-2 logarithm of the number of paths of each length. lengths: (n,) -> (n,)."""
    inner = (lengths > 0) & (lengths < blocks)  # one path takes no branch, one takes them all
    return np.where(inner, blocks + _log_binomial(blocks, 0.5, lengths) / math.log(2), 0.0)


def binomial(blocks: int, share: float) -> LengthDistribution:
    """Distribution of lengths where every block gives its branch the same share of the energy.

    Exact; relative rounding error below 1e-10 up to 10^7 blocks.
    """
    first, last = _window(blocks, blocks * share, blocks * share * (1 - share))
    lengths = np.arange(first, last + 1, dtype=np.int64)
    return LengthDistribution(first, np.exp(_log_binomial(blocks, share, lengths)))


def poisson_binomial(shares: Array) -> LengthDistribution:
    """Distribution of lengths where block k gives its branch the share shares[k]. shares: (blocks,).

    Exact. Blocks with a share above RARE are multiplied out one by one; the rare ones, however many, enter
    through the power sums of their odds, so K blocks cost K operations and not K^2.
    """
    _, longest = _window(len(shares), float(shares.sum()), float((shares * (1 - shares)).sum()))
    rare = shares < RARE
    weights = np.convolve(_multiply_out(shares[~rare], longest), _rare_events(shares[rare], longest))
    return LengthDistribution(0, weights[: longest + 1])


def batchnorm_branch_shares(blocks: int) -> Array:
    """Share p_k = 1 / (1 + v_k) of the branch of h' = h + W relu(BN(h)), W ~ N(0, 2 / width). -> (blocks,).

    v_k, the batch variance entering block k, starts at 2 (He initialisation of the first layer, independent N(0, 1)
    inputs) and gains 2 Var relu(z) = 1 - 1/pi a block, z ~ N(0, 1). BN divides the branch's gradient by sqrt(v_k),
    half of it passes the ReLU and W doubles its square: skip 1 and branch 1 / v_k.
    Limit: width -> infinity, then batch -> infinity, gradients independent from example to example.
    """
    variance: Array = 2.0 + (1.0 - 1.0 / math.pi) * np.arange(blocks, dtype=np.float64)
    return 1.0 / (1.0 + variance)


def _window(blocks: int, mean: float, variance: float) -> tuple[int, int]:
    """First and last length outside of which a float64 cannot hold the weight (Bernstein's inequality)."""
    third = -LOG_LEAST_FLOAT / 3
    reach = third + math.sqrt(third**2 + 6 * third * variance)
    return max(math.floor(mean - reach), 0), min(math.ceil(mean + reach), blocks)


def _log_binomial(blocks: int, share: float, lengths: Lengths) -> Array:
    """Natural logarithm of C(K, l) p^l (1 - p)^(K - l). lengths: (n,) -> (n,).

    The deviance is a difference of neighbours; log-gammas would be of size K log K and cancel.
    """
    branches = np.maximum(lengths, 1).astype(np.float64)
    skips = np.maximum(blocks - lengths, 1).astype(np.float64)
    excess = lengths - blocks * share
    with np.errstate(divide="ignore", invalid="ignore"):  # a share of 0 or 1 leaves one length, which is an end
        deviance = branches * np.log1p(excess / (blocks * share)) + skips * np.log1p(-excess / (blocks * (1 - share)))
        stirling = _stirling_error(np.array([float(blocks)])) - _stirling_error(branches) - _stirling_error(skips)
        inner = stirling - deviance - 0.5 * np.log(2 * math.pi * branches * skips / blocks)
        no_branch, no_skip = blocks * np.log1p(-share), blocks * np.log(share)
    return np.select([lengths == 0, lengths == blocks], [no_branch, no_skip], inner)


def _stirling_error(n: Array) -> Array:
    """Error of Stirling's formula, log n! - log(sqrt(2 pi n) (n/e)^n), for whole n >= 1, in the shape of n."""
    small = np.arange(1, 16)
    table = np.array([math.lgamma(m + 1) - (m + 0.5) * math.log(m) + m - 0.5 * math.log(2 * math.pi) for m in small])
    x = 1 / n**2
    series = (1 / 12 - x * (1 / 360 - x * (1 / 1260 - x * (1 / 1680 - x / 1188)))) / n
    return np.where(n < 16, table[np.minimum(n, 15).astype(np.int64) - 1], series)


def _multiply_out(shares: Array, longest: int) -> Array:
    """Coefficients 0..longest of prod_k (1 - p_k + p_k z)."""
    weights = np.zeros(longest + 1)
    weights[0] = 1.0
    for share in shares.tolist():
        weights[1:] = (1 - share) * weights[1:] + share * weights[:-1]
        weights[0] *= 1 - share
    return weights


def _rare_events(shares: Array, longest: int) -> Array:
    """Coefficients 0..longest of prod_k (1 - p_k + p_k z) for small p_k.

    With odds o = p / (1 - p) and power sums S_j = sum_k o_k^j they obey Newton's identities
    w_l = (S_1 w_(l-1) - S_2 w_(l-2) + S_3 w_(l-3) - ...) / l, and S_j shrinks by RARE from each j to the next.
    """
    odds, power = shares / (1 - shares), np.ones_like(shares)
    signed_sums = np.empty(POWER_SUMS)
    for j in range(POWER_SUMS):
        power *= odds
        signed_sums[j] = (-1) ** j * power.sum()
    weights = np.zeros(longest + 1)
    weights[0] = math.exp(np.log1p(-shares).sum())
    for length in range(1, longest + 1):
        terms = min(length, POWER_SUMS)
        weights[length] = signed_sums[:terms] @ weights[length - terms : length][::-1] / length
    return weights
