"""What theory says of a residual stack, block by block: picks the strongest statement that holds for the setting.

Order of preference: exact, finite-width (first order in 1/width), limit (infinite width, with a declared bound on what
the width at hand adds to one block's judged increment). Where nothing is known the answer is None, never a guess.

The bias bounds below are measured, as are those of limits (stack_limit.py): the largest deviation of the mean increment
from the stated value over the settings of `make bias`, times the width, rounded up.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resexp.theory import batchnorm, finite_width, finite_width_gradient, gaussian
from resexp.theory.stack_limit import StackLimit
from resexp.theory.unit_switching import networks_die

Array = NDArray[np.floating]
Kind = Literal["exact", "limit", "finite-width"]

SECOND_ORDER = 8.0  # finite-width laws of second moment and gradient: bias a block times width^2
RELATIVE_MEAN = 4.0  # mean over root mean square: bias times width
ADDED = 2.2  # what a block with batch normalisation adds, relative to its scale: bias times width
NEGLIGIBLE = 0.05  # share of the gradient that the direction of h itself may carry for the limit to hold
LARGEST_LOG2 = 1100  # of a second moment, as far as a limit is followed to find where it overflows


@dataclass(frozen=True)
class Expectation:
    """What theory expects of one number.

    log: natural log of the mean over networks; value: the mean itself where it may be negative; typical_log: mean of
    the log; judged: expectation of the judged statistic; bias: bound on the error of the judged increment.
    """

    kind: Kind
    log: float | None = None
    value: float | None = None
    typical_log: float | None = None
    judged: float | None = None
    bias: float = 0.0
    is_definition: bool = False


@dataclass(frozen=True)
class StackTheory(StackLimit):
    """What is expected of each quantity of a residual stack, at the blocks that are asked about."""

    @property
    def dies(self) -> bool:
        """Whether networks this narrow and deep die often: all units negative once, the branch is zero for ever."""
        if self.activation != "relu" or self.batch_normalised or self.branch == 0.0:
            return False
        return networks_die(self.depth, self.width)

    @property
    def growth_per_block_limit(self) -> float | None:
        """Geometric mean growth of the second moment a block at infinite width; None where it is not known."""
        if self.batch_normalised and self.branch != 0.0:
            if self.activation != "relu" or self.order == "linear-relu":
                return None
            ratio = float(self._normalised.second_moment[-1] / self._normalised.second_moment[0])
            return math.exp(math.log(ratio) / self.depth)
        grown = float(self.limit.log_second_moment[-1]) - math.log(self.gain)
        return math.exp(grown / self.depth) if math.isfinite(grown) else None

    def first_block_beyond(self, log2: float) -> float | None:
        """First block whose second moment at infinite width reaches 2**log2; None where it never does.

        The recursion is followed; if growth is slow, its last growth is carried on (ReLU and linear networks alone).
        """
        if self.batch_normalised:
            if self.activation != "relu" or self.order == "linear-relu" or self.branch == 0.0:
                return None
            blocks = 2.0 ** min(log2, 1023.0) / self.added_scale
            return float(math.ceil(blocks - self.gain)) if blocks < 2**52 else blocks
        depth = LARGEST_LOG2 if self.is_homogeneous else self.depth
        longer = replace(self, depth=depth, blocks=tuple(range(depth + 1)))
        levels = longer.limit.log_second_moment / math.log(2.0)
        beyond = np.flatnonzero(levels >= log2 - 1e-6)
        if len(beyond):
            return float(beyond[0])
        growth = float(levels[-1] - levels[-2])
        if not self.is_homogeneous or not growth > 1e-9:
            return None
        return longer.depth + math.ceil((log2 - float(levels[-1])) / growth)

    @cached_property
    def correction(self) -> finite_width.Correction | None:
        """First-order corrections in 1/width, for the settings they were derived for."""
        derived = self._keeps_signs_apart and self.order != "linear-relu"
        if not derived or not finite_width.is_affordable(self.depth, self.branch_share):
            return None
        return finite_width.correction(
            width=self.width,
            batch=self.batch,
            branch_share=self.branch_share,
            correlation=self.limit.correlation,
            two_layer=self.order == "two-layer",
            blocks=self.blocks,
        )

    @cached_property
    def gradient_correction(self) -> finite_width_gradient.GradientCorrection | None:
        """The same for the gradient: one input, one layer a branch."""
        if not self._keeps_signs_apart or self.order != "relu-linear" or self.batch > 1:
            return None
        below = self.depth - np.array(self.blocks)
        return finite_width_gradient.correction(
            width=self.width, branch_share=self.branch_share, below=below, depth=self.depth
        )

    @property
    def _keeps_signs_apart(self) -> bool:
        """ReLU, independent weights, nothing normalised: the ground on which corrections in 1/width were derived."""
        return self.activation == "relu" and self.independent_weights and not self.batch_normalised

    def activation_second_moment(self, block: int) -> Expectation | None:
        """Mean square over units and batch."""
        if self.batch_normalised and self.branch != 0.0:
            return self._added(self._normalised.second_moment, block, self._typical_first(self.batch))
        log, first = float(self.limit.log_second_moment[self.row_of[block]]), self._typical_first(self.batch)
        if not math.isfinite(log):
            return None
        if block == 0:
            return Expectation("exact", log=log, typical_log=log + first, bias=self._first_bias(self.batch))
        if self.branch == 0.0:
            return Expectation("exact", log=log, typical_log=log + first)
        if self.dies:
            return None
        if self.correction is not None:
            return Expectation(
                "finite-width",
                log=log + float(self.correction.mean[self.row_of[block]]),
                typical_log=log
                + float(self.correction.typical[self.row_of[block]])
                + first
                - self._first_of_correction,
                bias=SECOND_ORDER * self.strength / self.width**2,
            )
        bias = self.forward_bound + self.shift("second_moment", block)
        return Expectation("limit", log=log, typical_log=log + first, bias=bias)

    def activation_batch_variance(self, block: int) -> Expectation | None:
        """Variance over the batch (biased, as batch normalisation takes it), mean over units."""
        first = self._typical_first(self.batch - 1)
        if self.batch_normalised and self.branch != 0.0:
            return self._added(self._normalised.batch_variance, block, first)
        log = float(self.limit.log_batch_variance[self.row_of[block]]) + math.log1p(-1.0 / self.batch)
        if not math.isfinite(log):
            return None
        if block == 0:
            return Expectation("exact", log=log, typical_log=log + first, bias=self._first_bias(self.batch - 1))
        if self.branch == 0.0:
            return Expectation("exact", log=log, typical_log=log + first)
        excess = 1.0
        if self.adds_to_one_direction:
            excess = 1.0 / (1.0 - float(self.limit.correlation[block]))
        if self.dies or excess > NEGLIGIBLE * self.width:
            return None
        bias = self.forward_bound * excess + self.shift("batch_variance", block)
        return Expectation("limit", log=log, typical_log=log + first, bias=bias)

    def _added(self, levels: Array, block: int, first: float) -> Expectation | None:
        """A signal that grows by addition. ReLU last: the limit is approached too slowly to be held against."""
        if self.activation != "relu" or self.order == "linear-relu":
            return None
        level = float(levels[block])
        bias = ADDED / self.width * self.added_scale if block else abs(first) * level + 8.0 / self.width**2
        return Expectation("limit", log=math.log(level), bias=bias)

    @property
    def added_scale(self) -> float:
        """Second moment that a block with batch normalisation adds: branch^2 gain / 2."""
        return self.branch**2 * self.gain / 2.0

    def activation_mean(self, block: int) -> Expectation | None:
        """Mean over units and batch.

        Where the branch ends in its weights, the mean of what a block adds is judged, over its root mean square
        given the block's input: exactly zero at any width, by the sign symmetry of the weights. Where it ends in
        ReLU, mean over root mean square of h.
        """
        if self.order != "linear-relu" or self.branch == 0.0:
            return Expectation("exact", value=0.0, judged=0.0)
        if self.batch_normalised:
            return None
        row = self.row_of[block]
        log, relative = float(self.limit.log_second_moment[row]), float(self.limit.relative_mean[row])
        if not math.isfinite(log) or self.dies:
            return None
        value = relative * math.exp(0.5 * log) if log < 1400.0 else None
        bias = RELATIVE_MEAN / self.width + (self.shifts.relative_mean[block] if self.shifts is not None else 0.0)
        return Expectation("limit", value=value, judged=relative, bias=float(bias))

    def gradient_second_moment(self, block: int) -> Expectation | None:
        """Squared gradient at h[block] over that at the last block."""
        if block == self.depth:
            return Expectation("exact", log=0.0, is_definition=True)
        if self.branch == 0.0:
            return Expectation("exact", log=-2.0 * math.log(self.skip) * (block - self.depth))
        if self.dies:
            return None
        if self.batch_normalised:
            if self._normalised_gradient is None:
                return None
            mean, typical = self._normalised_gradient
            row = self.row_of[block]
            return Expectation("limit", log=float(mean[row]), typical_log=float(typical[row]), bias=self.gradient_bound)
        row = self.row_of[block]
        log = float(self.limit.log_gradient[row])
        if self.gradient_correction is not None:
            more = self.gradient_correction
            bias = more.error + SECOND_ORDER * self.strength / self.width**2
            return Expectation(
                "finite-width", log=log + float(more.mean[row]), typical_log=log + float(more.typical[row]), bias=bias
            )
        excess = self.excess_along_signal(block)
        if not math.isfinite(log) or not excess <= NEGLIGIBLE * self.width:
            return None
        bias = self.gradient_bound * excess * self.spread_of_slopes[row]
        return Expectation("limit", log=log, bias=bias + self.shift("gradient", self.blocks[row + 1], block))

    @cached_property
    def _normalised(self) -> batchnorm.BatchNormLimit:
        return batchnorm.forward(self.depth, batch=self.batch, branch=self.branch, gain=self.gain, order=self.order)

    @cached_property
    def _normalised_gradient(self) -> tuple[Array, Array] | None:
        """Log of the mean and mean of the log over what the batch's cotangents have in common, (rows,) each."""
        if self.activation != "relu" or self.order == "linear-relu" or self.batch < 4:
            return None
        if self.cotangent == "loss":
            common, weights = batchnorm.common_share_of_loss(self._normalised, batch=self.batch, gain=self.gain)
        else:
            common = np.array([1.0 if self.cotangent == "independent" else float(self.batch)])
            weights = np.ones(1)
        growth = batchnorm.gradient(
            self._normalised.batch_variance,
            common,
            batch=self.batch,
            branch=self.branch,
            gain=self.gain,
            two_layer=self.order == "two-layer",
            inner=self.inner,
            blocks=self.blocks,
        )
        return np.log(growth @ weights), np.log(growth) @ weights

    def _typical_first(self, inputs: int) -> float:
        """E log q_0 - log E q_0 after the first layer: exact for one input, to first order for `inputs` of them.

        q_0 is chi-square in the weights (unless they are orthogonal, when it is exactly as long as the input) and in
        the input.
        """
        if self.batch == 1:
            chi_square = gaussian.mean_log_chi_square(self.width)
            return chi_square * (2.0 if self.independent_weights else 1.0)
        if not self.independent_weights:
            return -1.0 / (inputs * self.width)
        return -(2.0 / inputs + 1.0 / self.width) / self.width

    @property
    def _first_of_correction(self) -> float:
        """The part of the finite-width correction that stands for the first layer."""
        return -0.5 * (4.0 / self.batch + 2.0 / self.width) / self.width

    def _first_bias(self, inputs: int) -> float:
        """Second order of the first layer's logarithm; none for one input, where it is exact."""
        return 0.0 if self.batch == 1 else 2.0 * (4.0 / inputs + 2.0 / self.width) ** 2 / self.width**2
