"""Growth of signal and gradient in residual nets that normalise first, whatever the normaliser averages over.

    h' = h + W relu(z),  z = (h - mean) / sigma over sets of N values,     W 3 x 3, gain = fan-in Var W, many channels

A set holds m channels at P places: all places of a batch (batch normalisation), of some examples (ghost), of one image
(layer, group, instance). Channels are independent of each other; two places of one channel have the covariance c, the
same for any two, for noise that is white over space and examples: c = 0 at first, and a branch adds what its weights
make of the mean of relu(z). With the variance q of one value,

    E mean^2 = (q + (P - 1) c) / N,    v = E sigma^2 = q - E mean^2,    rho = (c - E mean^2) / v,
    q' = q + gain/2,                   c' = c + (gain/2) kappa1(rho),                                      N >= 2

because z has mean square 1 and is sign-symmetric: the second moment grows by one a block with any normaliser, from 2 at
the first convolution, and by (3 + k) / (2 + k) as a factor. A single value is mapped to 0 and adds nothing.

Backward the Jacobian (I - 11'/N - zz'/N) / sigma has the squared length (N - 2) / sigma^2 and half of it meets units
that are on, so that with independent directions at the last block the squared gradient grows by

    1 + (gain/2) (1 - 2/N) E[1 / sigma^2],     N sigma^2 ~ (q + (P - 1) c) chi^2(m - 1) + (q - c) chi^2(m (P - 1)).

The expectation is finite for N >= 4. For N = 2 z is +1 and -1 whatever h is and the Jacobian zero, but for eps: where
two values come as close as sqrt(eps) it is as large as 1 / sqrt(eps), which no mean survives. For m = 1 all this is
theory/batchnorm.py with N for the batch, and its backward law is taken, which knows more of order 1/N: the parts of a
gradient that the places have in common. Without normalisation signal and squared gradient double, and so they do with
weight normalisation, whose lengths start at those of the weights. Batch renormalisation divides by deviations that it
holds on to: sigma is that of a larger set.

Sources: Ioffe and Szegedy 2015; Ba et al. 2016; Wu and He 2018; Ioffe 2017; derived here, checked in tests/theory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resexp.theory import batchnorm
from resexp.theory.gaussian import kappa1
from resexp.theory.paths import Array

FEWEST_VALUES = 4
STEPS = 4000


@dataclass(frozen=True)
class ValueSet:
    """What one mean and one variance are of: so many channels, at so many places (pixels of examples)."""

    channels: int
    places: int

    @property
    def values(self) -> int:
        """How many values."""
        return self.channels * self.places


@dataclass(frozen=True)
class Growth:
    """second_moment: (K + 1,) of h[0..K]; gradient: (K,) factor of the squared gradient in each block, or None."""

    second_moment: Array
    gradient: Array | None


def unnormalised(depth: int, *, gain: float) -> Growth:
    """Without a normaliser of activations: a factor 1 + gain/2 a block, both ways."""
    factor = 1.0 + gain / 2.0
    return Growth(gain * np.power(factor, np.arange(depth + 1)), np.full(depth, factor))


def normalised(depth: int, over: ValueSet, *, gain: float, held: ValueSet | None = None) -> Growth:
    """With a normaliser. held: the set whose deviations are divided by, where that is another one than z is made of."""
    if over.values == 1:
        return Growth(np.full(depth + 1, gain), np.ones(depth))
    divided = held or over
    q, c, moments = gain, 0.0, [(gain, 0.0)]
    for _ in range(depth):
        mean_square = _square_of_mean(divided, q, c)
        c += gain / 2.0 * float(kappa1((c - mean_square) / (q - mean_square)))
        q += gain / 2.0
        moments.append((q, c))
    return Growth(np.array([q for q, _ in moments]), _backward(over, divided, moments[:-1], gain))


def _backward(over: ValueSet, divided: ValueSet, moments: Sequence[tuple[float, float]], gain: float) -> Array | None:
    """Factor of the squared gradient in each block. moments: variance and covariance of two places before it."""
    if min(over.values, divided.values) < FEWEST_VALUES:
        return None
    if over == divided and over.channels == 1:
        variance = np.array([*(q - _square_of_mean(over, q, c) for q, c in moments), np.nan])
        relative = batchnorm.gradient(
            variance, np.ones(1), batch=over.values, branch=1.0, gain=gain, two_layer=False, inner=1.0
        )[:, 0]
        return np.asarray(relative[:-1] / relative[1:])
    half = gain / 2.0 * (1.0 - 2.0 / over.values)
    return np.array([1.0 + half * inverse_variance(divided, q, c) for q, c in moments])


def _square_of_mean(over: ValueSet, q: float, c: float) -> float:
    """E mean^2 over the set."""
    return (q + (over.places - 1) * c) / over.values


def inverse_variance(over: ValueSet, q: float, c: float) -> float:
    """E[1 / sigma^2] over the set, for normal values: the integral of E exp(-s sigma^2) over s from 0 on."""
    mean_square = _square_of_mean(over, q, c)
    s = np.exp(np.linspace(-40.0, 40.0, STEPS)) / (q - mean_square)
    of_means = (over.channels - 1) * np.log1p(2.0 * s * mean_square)
    of_rest = over.channels * (over.places - 1) * np.log1p(2.0 * s * (q - c) / over.values)
    return float(np.exp(-0.5 * (of_means + of_rest) + np.log(s)).sum() * 80.0 / (STEPS - 1))
