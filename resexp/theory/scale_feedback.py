"""What a finite width does to growth that depends on the scale of the signal: bounds on how far limits are off.

With tanh or GELU a block multiplies the second moment by g(q), not by a number. At finite width a network's log q
differs from the limit by X, of mean delta and variance sigma^2, and a small X becomes a large one where growth rises
with scale: there half of the networks go one way and half the other (rescaled GELU stacks of width 100, 100 inputs: the
median second moment is three times that of the limit after 30 blocks, and a hundred times after 50). Let f be the
logarithm of what is followed. Three points of a normal law of X, 0 and +-sqrt 3 sigma, give mean and slope,

    E f(X) - f(0) = (f(+) + f(-) - 2 f(0)) / 6,    slope = (f(+) - f(-)) / (2 sqrt 3 sigma),

and with v / D the variance that a block adds, C / D what it adds to the mean of log q,

    sigma^2 <- (1 + slope)^2 sigma^2 + v / D,      delta <- |1 + slope| delta + |E f(X) - f(0)| + C / D.

A quantity is off by |E f(X) - f(0)| + |slope| delta a block, beside what fresh weights do at a given scale. That of
log q itself counts where its slope is positive alone: a negative one takes back what earlier blocks were off by.
Simulations (make bias) show that where growth rises with scale and sigma comes to about 1, X no longer normal, this is
up to twice as large, and that it lasts; there twice the largest so far is declared.

Derived here; a bound for the verdict, not a correction, and checked as one by `make bias`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resexp.theory.infinite_width import LARGEST, Block, Unit

Array = NDArray[np.floating]

NOISE = 6.0  # v: ReLU stacks have at most 5.5
OFFSET = 2.0  # C: the logarithm's mean lies below that of the mean by v / 2, less what units hand on to themselves
SAFETY = 2.0
FARTHEST = 30.0  # of log q: beyond, a limit says nothing


@dataclass(frozen=True)
class Shifts:
    """Bounds summed over the blocks before block k, (K + 1,) each; nan from where the recursion ends.

    second_moment, batch_variance, gradient: of the logarithm's growth; relative_mean: of the mean over the root mean
    square, itself. log_stretch: sum of log|1 + slope|, by which the net stretches what is along h more than h itself.
    """

    second_moment: Array
    batch_variance: Array
    gradient: Array
    relative_mean: Array
    log_stretch: Array


def shifts(depth: int, block: Block, *, width: int, batch: int, strength: float) -> Shifts:
    """Follow scale through the blocks. strength: how much of a block's growth is random, from 0 to 1."""
    sums, log_stretch = np.full((depth + 1, 4), math.nan), np.full(depth + 1, math.nan)
    sums[0] = log_stretch[0] = 0.0
    h, delta = Unit(block.gain, 0.0, 0.0), 0.0
    variance, largest = (4.0 / batch + 2.0 / width) / width, np.zeros(4)
    for k in range(depth):
        far = math.sqrt(3.0 * variance)
        if far > FARTHEST or not 1.0 / LARGEST < h.square < LARGEST:
            break
        after, here = _followed(block, h)
        larger, smaller = (_followed(block, h.times(math.exp(x)))[1] for x in (far, -far))
        bend, slope = (larger + smaller - 2.0 * here) / 6.0, (larger - smaller) / (2.0 * far)
        off = np.abs(bend) + np.abs(slope) * delta
        off[0] = abs(bend[0]) + max(slope[0], 0.0) * delta
        off[1] += off[0]
        largest = np.maximum(largest, SAFETY * off) if slope[0] > 0.0 else off
        sums[k + 1] = sums[k] + largest
        kept = abs(1.0 + float(slope[0]))
        log_stretch[k + 1] = log_stretch[k] + math.log(max(kept, 1e-300))
        delta = kept * delta + abs(bend[0]) + OFFSET * strength / width
        variance = kept**2 * variance + NOISE * strength / width
        h = after
    second_moment, batch_variance, gradient, relative_mean = sums.T
    return Shifts(second_moment, batch_variance, gradient, relative_mean, log_stretch)


def _followed(block: Block, h: Unit) -> tuple[Unit, Array]:
    """The unit after the block, and (4,): logs of the growth of q, of 1 - c and of the gradient; the relative mean."""
    after, gradient = block.through(h)
    apart, before = (1.0 - x.product / x.square for x in (after, h))
    between = math.log(apart / before) if apart > 0.0 and before > 0.0 else math.nan
    logs = [math.log(after.square / h.square), between, math.log(gradient)]
    return after, np.array([*logs, after.mean / math.sqrt(after.square)])
