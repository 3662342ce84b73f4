"""Block at which a ReLU residual stack leaves the range of a number format, for one input.

    h[k+1] = a h[k] + b W relu(h[k]),    log max|h[k]| = (1/2) log q[k] + log m,    g = a^2 + b^2 gain / 2

q is the mean square of the units, m the largest of D standard half-normals (largest.py): 2.7 for 64 units, 4 for
10,000. What is infinite first is the largest activation, not the root mean square, and what is below the smallest
normal number last is again the largest. A square is out at half the exponent of the format.

To first order in 1/D log q is normal (finite_width.py), with a mean that grows by less than log g a block. The mean
block at which networks leave is the sum over blocks of the probability that log max|h| lies inside. (A network that is
out once and in again counts twice, which is part of the declared bias.)

The gradient goes the same way from the last block, where its root mean square is 1, by the law of
finite_width_gradient.py, whose error is part of the bias.

Sources: range of the formats IEEE 754-2019, bfloat16 Kalamkar et al. 2019; the rest derived here.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resexp.theory import finite_width, finite_width_gradient, gaussian, largest

Array = NDArray[np.floating]
Signal = Literal["activation", "square", "gradient"]
End = Literal["overflow", "underflow"]

NARROWEST = 32  # units below which the first order in 1/width says too little
MOST_BLOCKS = 50_000  # followed
LOOSEST = 0.1  # relative bias beyond which nothing is stated
CRITICAL = 1e-9  # log growth that is none
RARE = 1e-6  # probability of a network that is still inside when all are said to be out

# Bounds on what the theory is off by, measured at widths 32 to 128 in all formats, with 64 to 1,024 draws:
SECOND_ORDER = 16.0  # of the finite-width law of log q, a block, times width^2 over lambda
LIMIT = 5.5  # of infinite width, orthogonal weights, a block, times width over lambda
NOISE = 0.04  # of log max|h|, which wavers about the end of the range while it passes ...
STEP = 0.05  # ... and of the block itself


@dataclass(frozen=True)
class Format:
    """A binary floating-point format: exponent e of its largest number (2 - 2^-p) 2^e, and p digits after the point.

    Its smallest normal number is 2^(1 - e).
    """

    exponent: int
    digits: int

    def end_exponent(self, end: End) -> int:
        """Exponent of the power of two that is just too large, or just large enough to be normal."""
        return self.exponent + 1 if end == "overflow" else 1 - self.exponent

    def log_end(self, end: End) -> float:
        """Natural logarithm of the largest finite, or the smallest normal number."""
        beyond = math.log1p(-(2.0 ** -(self.digits + 1))) if end == "overflow" else 0.0
        return self.end_exponent(end) * math.log(2.0) + beyond

    @property
    def rounding(self) -> float:
        """Bound on the mean square of a relative rounding error: what it may add to the growth of q a block."""
        return 4.0**-self.digits / 12.0


FORMATS = {
    "float16": Format(15, 10),
    "bfloat16": Format(127, 7),
    "float32": Format(127, 23),
    "float64": Format(1023, 52),
}


@dataclass(frozen=True)
class Departure:
    """Mean over networks of the first block out of range.

    bias: bound on its relative error; all_out: block by which all but few networks are out.
    """

    kind: Literal["limit", "finite-width"]
    block: float
    bias: float
    all_out: int


@dataclass(frozen=True)
class StackRange:
    """A stack of the scales `skip` and `branch`, weights of variance gain / fan-in, in a number format."""

    format: Format
    width: int
    skip: float
    branch: float
    gain: float
    independent_weights: bool

    @property
    def log_growth(self) -> float:
        """Natural logarithm of g, by which the second moment grows a block at infinite width."""
        growth = math.log(self.skip**2 + self.branch**2 * self.gain / 2.0)
        return growth if abs(growth) > CRITICAL else 0.0

    @property
    def end(self) -> End | None:
        """The end of the range that the stack goes to; None where at infinite width it stays."""
        if self.log_growth == 0.0:
            return None
        return "overflow" if self.log_growth > 0.0 else "underflow"

    @property
    def branch_share(self) -> float:
        """lambda: share of the branch in g."""
        branch = self.branch**2 * self.gain / 2.0
        return branch / (self.skip**2 + branch)

    def limit(self, signal: Signal) -> int | None:
        """Block at which the largest leaves at infinite width, all networks alike; None where it never does."""
        if self.end is None:
            return None
        way = self._end_of(signal, self.end) - 0.5 * self._log_first(signal) - largest.log_activation(self.width)[0]
        return max(1, math.ceil(way / (0.5 * self.log_growth)))

    def first_block_out(self, signal: Signal) -> Departure | None:
        """What to expect of a signal; None where nothing is known."""
        limit, end = self.limit(signal), self.end
        if limit is None or end is None or limit > MOST_BLOCKS or self.width < NARROWEST or self.branch == 0.0:
            return None
        blocks, share = np.arange(2.0 * limit + 50.0), self.branch_share
        corrected = self.independent_weights and finite_width.is_affordable(len(blocks), share)
        log, variance, error = self._log_second_moment(signal, blocks, corrected)
        log_m, spread = largest.log_activation(self.width)
        if signal == "gradient":
            log_m, spread = largest.log_gradient(self.width, share, limit)
        room = self._end_of(signal, end) - (0.5 * log + log_m)
        inside = gaussian.normal_distribution(
            math.copysign(1.0, self.log_growth) * room / np.sqrt(variance / 4 + spread)
        )
        block, growth = float(inside.sum()), abs(self.log_growth)
        bias = (error + self.format.rounding) / growth + (2.0 * NOISE / growth + STEP) / block
        kind: Literal["limit", "finite-width"] = "finite-width" if corrected else "limit"
        found = Departure(kind, block, bias, int(np.count_nonzero(inside > RARE)) + 1)
        return found if bias <= LOOSEST else None

    def _log_second_moment(self, signal: Signal, blocks: Array, corrected: bool) -> tuple[Array, Array, float]:
        """Mean and variance over networks of the log of q, or of the squared gradient, at blocks 0, 1, ...

        And a bound on the error of its growth a block.
        """
        log, share = self._log_first(signal) + blocks * self.log_growth, self.branch_share
        if not corrected:
            return log, np.zeros(len(blocks)), LIMIT * share / self.width
        law = finite_width.correction(
            width=self.width, batch=1, branch_share=share, correlation=np.ones(len(blocks)), two_layer=False
        )
        error = SECOND_ORDER * share / self.width**2
        if signal != "gradient":
            return log + law.typical, law.variance, error
        backward = finite_width_gradient.correction(width=self.width, branch_share=share, below=blocks)
        first = 1.0 / self.width  # the gradient that enters is normal, and log a chi-square less than its mean
        return log + backward.typical - first, backward.variance + 2.0 * first, error + backward.error

    def _end_of(self, signal: Signal, end: End) -> float:
        """Log of the magnitude at which the signal, or its square, leaves the range."""
        return (0.5 if signal == "square" else 1.0) * self.format.log_end(end)

    def _log_first(self, signal: Signal) -> float:
        """Log of the second moment at block 0, or of the gradient at the last block."""
        return 0.0 if signal == "gradient" else math.log(self.gain)
