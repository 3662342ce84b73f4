"""What theory says of a residual stack, block by block: picks the strongest statement that holds for the setting.

Order of preference: exact, finite-width (first order in 1/width), limit (infinite width, with a declared bound on what
the width at hand adds to one block's judged increment). Where nothing is known the answer is None, never a guess.

The bias bounds below are measured: the largest deviation of the mean increment from the stated value over the widths,
depths and settings of `make bias`, times the width, rounded up.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resexp.theory import batchnorm, finite_width, gaussian, infinite_width

Array = NDArray[np.floating]
Kind = Literal["exact", "limit", "finite-width"]

SECOND_ORDER = 6.0  # finite-width law of the second moment: bias a block times width^2
FORWARD = 4.0  # limits of second moment and batch variance: bias a block times width ...
FORWARD_TWO_LAYER = 6.0
BACKWARD = 3.2  # ... and of the gradient, for each weight matrix of a branch
RELATIVE_MEAN = 4.0  # mean over root mean square: bias times width
ADDED = 2.2  # what a block with batch normalisation adds, relative to its scale: bias times width
NEGLIGIBLE = 0.05  # share of the gradient that the direction of h itself may carry for the limit to hold
DEATH_RATE = 16.0  # networks that die a block, at most, times 2^width
DEAD_SHARE = 0.005  # share of dead networks beyond which the laws of living ones say nothing
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
class StackTheory:
    """A residual stack in numbers: h' = skip h + branch f(h), weights of variance gain / fan-in.

    blocks: increasing numbers of those that are asked about, the last one among them.
    """

    depth: int
    blocks: tuple[int, ...]
    width: int
    batch: int
    skip: float
    branch: float
    inner: float
    gain: float
    order: str
    activation: str
    cotangent: str
    batch_normalised: bool
    independent_weights: bool

    @cached_property
    def limit(self) -> infinite_width.Limit:
        """The recursion at infinite width (without batch normalisation)."""
        return infinite_width.stack(
            self.depth,
            skip=self.skip,
            branch=self.branch,
            inner=self.inner,
            gain=self.gain,
            order=self.order,
            activation=self.activation,
            blocks=self.blocks,
        )

    @cached_property
    def _rows(self) -> dict[int, int]:
        return {block: row for row, block in enumerate(self.blocks)}

    @property
    def dies(self) -> bool:
        """Whether networks this narrow and deep die often: all units negative once, the branch is zero for ever.

        The share was measured: up to about 11 / 2^width a block.
        """
        if self.activation != "relu" or self.batch_normalised or self.branch == 0.0:
            return False
        return DEATH_RATE * self.depth * 2.0**-self.width > DEAD_SHARE

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
        homogeneous = self.activation in {"relu", "linear"}
        depth = LARGEST_LOG2 if homogeneous else self.depth
        longer = replace(self, depth=depth, blocks=tuple(range(depth + 1)))
        levels = longer.limit.log_second_moment / math.log(2.0)
        beyond = np.flatnonzero(levels >= log2 - 1e-6)
        if len(beyond):
            return float(beyond[0])
        growth = float(levels[-1] - levels[-2])
        if not homogeneous or not growth > 1e-9:
            return None
        return longer.depth + math.ceil((log2 - float(levels[-1])) / growth)

    @cached_property
    def branch_share(self) -> float:
        """lambda: the branch's share of the growth of the second moment of a ReLU stack."""
        branch = (self.branch * (self.inner if self.order == "two-layer" else 1.0)) ** 2
        branch *= (self.gain / 2.0) ** (2 if self.order == "two-layer" else 1)
        return branch / (self.skip**2 + branch)

    @cached_property
    def correction(self) -> finite_width.Correction | None:
        """First-order corrections in 1/width, for the settings they were derived for."""
        derived = (
            self.activation == "relu"
            and self.independent_weights
            and self.order != "linear-relu"
            and not self.batch_normalised
        )
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

    def activation_second_moment(self, block: int) -> Expectation | None:
        """Mean square over units and batch."""
        if self.batch_normalised and self.branch != 0.0:
            return self._added(self._normalised.second_moment, block, self._typical_first(self.batch))
        log, first = float(self.limit.log_second_moment[self._rows[block]]), self._typical_first(self.batch)
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
                log=log + float(self.correction.mean[self._rows[block]]),
                typical_log=log + float(self.correction.typical[self._rows[block]]) + first - self._first_of_correction,
                bias=SECOND_ORDER * self._strength / self.width**2,
            )
        return Expectation("limit", log=log, typical_log=log + first, bias=self._limit_bias(block))

    def activation_batch_variance(self, block: int) -> Expectation | None:
        """Variance over the batch (biased, as batch normalisation takes it), mean over units."""
        first = self._typical_first(self.batch - 1)
        if self.batch_normalised and self.branch != 0.0:
            return self._added(self._normalised.batch_variance, block, first)
        log = float(self.limit.log_batch_variance[self._rows[block]]) + math.log1p(-1.0 / self.batch)
        if not math.isfinite(log):
            return None
        if block == 0:
            return Expectation("exact", log=log, typical_log=log + first, bias=self._first_bias(self.batch - 1))
        if self.branch == 0.0:
            return Expectation("exact", log=log, typical_log=log + first)
        if self.dies or self._common_direction_rules(1.0 / (1.0 - float(self.limit.correlation[block]))):
            return None
        return Expectation("limit", log=log, typical_log=log + first, bias=self._limit_bias(block))

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
        row = self._rows[block]
        log, relative = float(self.limit.log_second_moment[row]), float(self.limit.relative_mean[row])
        if not math.isfinite(log) or self.dies:
            return None
        value = relative * math.exp(0.5 * log) if log < 1400.0 else None
        return Expectation("limit", value=value, judged=relative, bias=RELATIVE_MEAN / self.width)

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
            row = self._rows[block]
            return Expectation("limit", log=float(mean[row]), typical_log=float(typical[row]), bias=self._gradient_bias)
        log = float(self.limit.log_gradient[self._rows[block]])
        along_signal = float(self.limit.log_second_moment[-1] - self.limit.log_second_moment[self._rows[block]])
        if not math.isfinite(log) or self._common_direction_rules(math.exp(min(along_signal - log, 700.0))):
            return None
        return Expectation("limit", log=log, bias=self._gradient_bias * self._memory_of_scale(self.depth))

    def _common_direction_rules(self, excess: float) -> bool:
        """Whether the direction of h itself carries the gradient, so that infinite width says nothing at this width.

        With linear-relu blocks h keeps adding to the same positive direction. The Jacobian of a homogeneous net
        stretches that direction as it stretches h, `excess` times as much as the rest; it is one direction in D, and
        the limit holds while it stays negligible.
        """
        return self.order == "linear-relu" and self.skip > 0.0 and excess > NEGLIGIBLE * self.width

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

    @property
    def _strength(self) -> float:
        """How much of a block's growth is random, between 0 and 1: bias bounds shrink with it."""
        return min(1.0, 4.0 * self.branch_share)

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

    def _limit_bias(self, block: int) -> float:
        constant = FORWARD_TWO_LAYER if self.order == "two-layer" else FORWARD
        return constant * self._strength * self._memory_of_scale(block) / self.width

    def _memory_of_scale(self, blocks: int) -> float:
        """A plain GELU net's growth depends on its scale, so that errors of the level feed the increments."""
        return 1.0 + blocks / 2.0 if self.activation == "gelu" and self.skip == 0.0 else 1.0

    @property
    def _gradient_bias(self) -> float:
        matrices = 2.0 if self.order == "two-layer" else 1.0
        # E[1 / sigma^2] over units has heavy tails at small batches, which a finite width samples badly.
        heavy_tails = 1.0 + 12.0 / (self.batch - 3) if self.batch_normalised else 1.0
        return BACKWARD * matrices * self._strength * heavy_tails / self.width
