"""How the gradient of a residual net is shared out over the lengths of its paths, from what one block does to it.

If block k multiplies a gradient's norm by r_k on its way through the branch, over what the skip does, then the paths of
length l have the weight

    e_l(r) = sum over all sets of l blocks of the product of their r_k,

which, normalised, is the Poisson-binomial law of p_k = r_k / (1 + r_k); the binomial one where all r_k = r, with the
weights C(K, l) r^l. With norms it is what Veit et al. plot, the number of paths times the magnitude of one. With
squared norms, r_k^2, it is the share of the gradient's energy: a sign flipped in W[k] flips the gradient g_S of a set S
with k in it and not g_T of one without, so that E[g_S . g_T] = 0 (which units are on depends on W[k] too, but not at
infinite width), and E|g|^2 is the sum over paths of E|g_S|^2. The two differ wherever r is not 1, for norms of paths
that interfere do not add: of K branches of scale 1/sqrt K a path takes K/(K + 1) by energy and about sqrt K by norm.

Without normalisation, h' = a h + b W relu(h): given what enters, the squared norm of 1(h > 0) * W'g has the mean
gain/2 |g|^2 wherever half the units are on, so r^2 = b^2 gain / (2 a^2), in the limit of infinite width. At width D a
factor fluctuates with the log-variance 5/D of plain nets (Hanin and Nica 2019): the logarithm of its norm is typically
-5/(4 D), and the mean norm e^(-5/(8 D)), to first order.

With batch normalisation and h' = h + b W relu(BN(h)): r_k^2 = b^2 L_k, L_k of theory/batchnorm.py: of gradients without
a part that the examples have in common, except for the first branch that a path comes through, whose gradient is the
independent direction at the end. So all lengths but 0 have another factor, the same one.

Sources: Veit, Wilber and Belongie 2016; Hanin and Nica 2019; derived here, checked in tests/theory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from resexp.theory import batchnorm, paths
from resexp.theory.paths import Array, LengthDistribution


@dataclass(frozen=True)
class BlockRatios:
    """What a gradient's norm is multiplied by in the branch of each block, over what the skip does, (blocks,).

    first: a further factor of the first branch that a gradient comes to.
    """

    norm: Array
    first: float = 1.0

    def shares(self, power: float) -> LengthDistribution:
        """Share of each length in the sum over paths of the norm to this power, 1 for norms and 2 for energies."""
        ratios = self.norm**power
        law = paths.poisson_binomial(ratios / (1.0 + ratios))
        weights = law.weights * np.where(law.lengths > 0, self.first**power, 1.0)
        return LengthDistribution(law.first, weights / weights.sum())

    def log_typical_path(self, length: int) -> float:
        """Mean of the log norm through `length` blocks drawn at random, over that through all skips."""
        each = float(np.log(self.norm).mean())
        return length * each + (math.log(self.first) if length else 0.0)


@dataclass(frozen=True)
class PathLaw:
    """Ratios of squared norms in the mean, of mean norms, and of typical norms."""

    energy: BlockRatios
    mean: BlockRatios
    typical: BlockRatios


def unnormalised(blocks: int, *, skip: float, branch: float, gain: float, width: int) -> PathLaw:
    """Ratios of h' = skip h + branch W relu(h), W ~ N(0, gain / width), for one input: a limit, norms to order 1/D."""
    ratio = branch / skip * math.sqrt(gain / 2.0)
    energy, mean, typical = (
        BlockRatios(np.full(blocks, ratio * math.exp(-x / width))) for x in (0.0, 5.0 / 8.0, 5.0 / 4.0)
    )
    return PathLaw(energy, mean, typical)


def normalised(blocks: int, *, branch: float, gain: float, batch: int) -> PathLaw:
    """Ratios of h' = h + branch W relu(BN(h)), independent directions at the end, batch at least 4: infinite width."""
    limit = batchnorm.forward(blocks, batch=batch, branch=branch, gain=gain, order="relu-linear")
    squared = np.stack([_through_branch(float(v), branch, gain, batch) for v in limit.batch_variance[:-1]])
    ratios = BlockRatios(np.sqrt(squared[:, 0]), math.sqrt(float(squared[0, 1] / squared[0, 0])))
    return PathLaw(ratios, ratios, ratios)


def _through_branch(variance: float, branch: float, gain: float, batch: int) -> Array:
    """Squared gradient through a branch: one without and one with a part that examples have in common, (2,)."""
    both = batchnorm.gradient(
        np.array([variance, math.nan]),
        np.array([0.0, 1.0]),
        batch=batch,
        branch=branch,
        gain=gain,
        two_layer=False,
        inner=1.0,
    )
    return np.asarray(both[0] - 1.0)


def carrying(weights: Sequence[float] | Array, share: float) -> tuple[int, int]:
    """Shortest and longest of the fewest neighbouring lengths 0, 1, 2 ... that carry this share of the weights."""
    cumulative = np.concatenate([[0.0], np.cumsum(weights)]) / np.sum(weights)
    longest = np.searchsorted(cumulative, cumulative + share * (1 - 1e-12))  # of a range that begins at each length
    begins = np.flatnonzero(longest < len(cumulative))
    few = begins[longest[begins] - begins == (longest[begins] - begins).min()]
    best = few[np.argmax(cumulative[longest[few]] - cumulative[few])]  # of ranges as short the one that carries most
    return int(best), int(longest[best]) - 1
