"""A residual stack in numbers, its limit at infinite width, and bounds on what a finite width adds to a block's growth.

The bounds are measured: the largest deviation of the mean increment from the limit over the widths, depths and settings
of `make bias`, times the width, rounded up.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resexp.theory import gaussian, infinite_width, scale_feedback

Array = NDArray[np.floating]

FORWARD = 4.0  # limits of second moment and batch variance: bias a block times width ...
FORWARD_TWO_LAYER = 6.0
BACKWARD = 3.2  # ... and of the gradient, for each weight matrix of a branch


@dataclass(frozen=True)
class StackLimit(infinite_width.Block):
    """A residual stack: its block, and how often and on how many units and inputs.

    blocks: increasing numbers of those that are asked about, the last one among them.
    """

    depth: int
    blocks: tuple[int, ...]
    width: int
    batch: int
    cotangent: str
    batch_normalised: bool
    independent_weights: bool

    @cached_property
    def limit(self) -> infinite_width.Limit:
        """The recursion at infinite width (without batch normalisation)."""
        return infinite_width.stack(self.depth, self, self.blocks)

    @cached_property
    def row_of(self) -> dict[int, int]:
        """Place of each block among those asked about."""
        return {block: row for row, block in enumerate(self.blocks)}

    @cached_property
    def branch_share(self) -> float:
        """lambda: the branch's share of the growth of the second moment of a ReLU stack."""
        branch = (self.branch * (self.inner if self.order == "two-layer" else 1.0)) ** 2
        branch *= (self.gain / 2.0) ** (2 if self.order == "two-layer" else 1)
        return branch / (self.skip**2 + branch)

    @property
    def strength(self) -> float:
        """How much of a block's growth is random, between 0 and 1: bias bounds shrink with it."""
        return min(1.0, 4.0 * self.branch_share)

    @property
    def forward_bound(self) -> float:
        """Of the logarithm of second moment or batch variance, a block."""
        constant = FORWARD_TWO_LAYER if self.order == "two-layer" else FORWARD
        return constant * self.strength * self._beyond_width / self.width

    @property
    def _beyond_width(self) -> float:
        """In nets deeper than wide what a limit leaves out adds up to a factor of e and more: bounds grow with it."""
        return max(1.0, self.depth / self.width)

    @property
    def gradient_bound(self) -> float:
        """Of the logarithm of the squared gradient, a block."""
        matrices = 2.0 if self.order == "two-layer" else 1.0
        # E[1 / sigma^2] over units has heavy tails at small batches, which a finite width samples badly.
        heavy_tails = 1.0 + 12.0 / (self.batch - 3) if self.batch_normalised else 1.0
        return BACKWARD * matrices * self.strength * heavy_tails * self._beyond_width / self.width

    @property
    def adds_to_one_direction(self) -> bool:
        """Whether h keeps adding to the same positive direction, that of what ReLU gives out."""
        return self.order == "linear-relu" and self.skip > 0.0

    def excess_along_signal(self, block: int) -> float:
        """How much more the net stretches the direction of h than the others, from a block on; 1 at least.

        The Jacobian of a homogeneous net stretches that direction as it stretches h, and still more where growth rises
        with scale (GELU). It is one direction in D: the limit holds while it stays negligible, and before that what
        limits are off by was measured to grow in proportion.
        """
        if self.is_homogeneous and not self.adds_to_one_direction:
            return 1.0
        row = self.row_of[block]
        along = float(self.limit.log_second_moment[-1] - self.limit.log_second_moment[row])
        if self.shifts is not None:
            along += 2.0 * float(self.shifts.log_stretch[-1] - self.shifts.log_stretch[block])
        return math.exp(min(max(along - float(self.limit.log_gradient[row]), 0.0), 700.0))

    @cached_property
    def spread_of_slopes(self) -> Array:
        """How much more few slopes carry the gradient than with ReLU, at each row, 1 at least.

        E phi'^4 / (E phi'^2)^2, which saturation makes large, is 2 for ReLU; it counts with the square of the branch's
        share of the gradient's growth.
        """
        if self.is_homogeneous:
            return np.ones(len(self.blocks))
        with np.errstate(over="ignore"):
            levels = np.exp(self.limit.log_second_moment) * (self.gain if self.order == "linear-relu" else 1.0)
        found = np.ones(len(levels))
        for row, level in enumerate(levels):
            if math.isfinite(level):
                square = gaussian.derivative_square(self.activation, level)
                branch = self.branch**2 * self.gain * square
                share = branch / (self.skip**2 + branch)
                fourth = gaussian.derivative_fourth(self.activation, level)
                found[row] = min(1.0, 4.0 * share**2) * fourth / (2.0 * square**2)
        return np.maximum(np.maximum.accumulate(found), 1.0)

    @cached_property
    def shifts(self) -> scale_feedback.Shifts | None:
        """What a wandering scale does to growth that depends on it; None where growth does not."""
        if self.is_homogeneous or self.batch_normalised or self.branch == 0.0:
            return None
        return scale_feedback.shifts(self.depth, self, width=self.width, batch=self.batch, strength=self.strength)

    def shift(self, quantity: str, block: int, before: int | None = None) -> float:
        """Bound on the shift a block, from the listed block before (or `before`) to `block`."""
        if self.shifts is None:
            return 0.0
        sums = getattr(self.shifts, quantity)
        before = self.blocks[max(self.row_of[block] - 1, 0)] if before is None else before
        shift = float(sums[block] - sums[before]) / max(block - before, 1)
        return shift if math.isfinite(shift) else math.inf
