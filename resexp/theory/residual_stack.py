"""What theory says of a residual stack, block by block: picks the strongest statement that holds for the setting.

Order of preference: exact, finite-width (first order in 1/width), limit (infinite width, with a declared bound on what
the width at hand adds to one block's judged increment). Where nothing is known the answer is None, never a guess.

The bias bounds below are measured: largest deviation of the mean increment from the stated value over widths 32 to
200, batches 1 to 100 and all schemes, times the width, rounded up (`make bias` prints the table they come from).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from resexp.theory import batchnorm, finite_width, infinite_width

Array = NDArray[np.floating]
Kind = Literal["exact", "limit", "finite-width"]

SECOND_ORDER = 6.0  # finite-width law of the second moment: bias a block times width^2
FIRST_ORDER_MEAN = 1.5  # mean of h over its root mean square, exact in the mean of h: bias times width


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
    """A residual stack in numbers: h' = skip h + branch f(h), weights of variance gain / fan-in."""

    depth: int
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
        )

    @cached_property
    def log_second_moment_limit(self) -> Array:
        """Log of the second moment at infinite width, block 0..K; nan where it is not known."""
        if not self.batch_normalised:
            return self.limit.log_second_moment
        if self.activation != "relu":
            return np.full(self.depth + 1, math.nan)
        return np.log(self._normalised.second_moment)

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
        )

    def activation_second_moment(self, block: int) -> Expectation | None:
        """Mean square over units and batch."""
        if self.batch_normalised:
            if self.activation != "relu":
                return None
            moment = float(self._normalised.second_moment[block])
            return Expectation("limit", log=math.log(moment), bias=self._added_bias(block))
        log = float(self.limit.log_second_moment[block])
        if not math.isfinite(log):
            return None
        first = -0.5 * (4.0 / self.batch + 2.0 / self.width) / self.width  # E log q_0 - log E q_0, to first order
        if block == 0:
            return Expectation("exact", log=log, typical_log=log + first, bias=self._first_bias)
        if self.branch == 0.0:
            return Expectation("exact", log=log, typical_log=log + first)
        if self.correction is not None:
            return Expectation(
                "finite-width",
                log=log + float(self.correction.mean[block]),
                typical_log=log + float(self.correction.typical[block]),
                bias=SECOND_ORDER * self._strength / self.width**2,
            )
        return Expectation("limit", log=log, typical_log=log + first, bias=self._limit_bias(block))

    def activation_batch_variance(self, block: int) -> Expectation | None:
        """Variance over the batch (biased, as batch normalisation takes it), mean over units."""
        kept = 1.0 - 1.0 / self.batch
        if self.batch_normalised:
            if self.activation != "relu" or self.order == "linear-relu":
                return None
            variance = float(self._normalised.batch_variance[block])
            return Expectation("limit", log=math.log(variance), bias=self._added_bias(block))
        log = float(self.limit.log_batch_variance[block]) + math.log(kept)
        if not math.isfinite(log):
            return None
        first = -(2.0 / (self.batch - 1) + 1.0 / self.width) / self.width
        if block == 0:
            return Expectation("exact", log=log, typical_log=log + first, bias=self._first_bias)
        if self.branch == 0.0:
            return Expectation("exact", log=log, typical_log=log + first)
        if self._common_direction_rules(1.0 / (1.0 - float(self.limit.correlation[block]))):
            return None
        return Expectation("limit", log=log, typical_log=log + first, bias=self._limit_bias(block))

    def activation_mean(self, block: int) -> Expectation | None:
        """Mean over units and batch; judged as mean over root mean square of each network."""
        if self.order != "linear-relu":
            return Expectation("exact", value=0.0, judged=0.0, bias=FIRST_ORDER_MEAN / self.width)
        if self.batch_normalised:
            if self.activation != "relu":
                return None
            mean = batchnorm.mean_slope(self.branch, self.gain) * block
            root = math.sqrt(float(self._normalised.second_moment[block]))
            return Expectation("limit", value=mean, judged=mean / root, bias=self._mean_bias)
        log, relative = float(self.limit.log_second_moment[block]), float(self.limit.relative_mean[block])
        if not math.isfinite(log):
            return None
        value = relative * math.exp(0.5 * log) if log < 1400.0 else None
        return Expectation("limit", value=value, judged=relative, bias=self._mean_bias)

    def gradient_second_moment(self, block: int) -> Expectation | None:
        """Squared gradient at h[block] over that at the last block."""
        if block == self.depth:
            return Expectation("exact", log=0.0, is_definition=True)
        if self.branch == 0.0:
            return Expectation("exact", log=-2.0 * math.log(self.skip) * (block - self.depth))
        if self.batch_normalised:
            if self._normalised_gradient is None:
                return None
            mean, typical = self._normalised_gradient
            return Expectation(
                "limit", log=float(mean[block]), typical_log=float(typical[block]), bias=self._gradient_bias
            )
        log = float(self.limit.log_gradient[block])
        along_signal = float(self.limit.log_second_moment[-1] - self.limit.log_second_moment[block])
        if not math.isfinite(log) or self._common_direction_rules(math.exp(min(along_signal - log, 700.0))):
            return None
        return Expectation("limit", log=log, bias=self._gradient_bias * self._memory_of_scale(self.depth - block))

    def _common_direction_rules(self, excess: float) -> bool:
        """Whether the direction of h itself carries the gradient, so that infinite width says nothing at this width.

        With linear-relu blocks h keeps adding to the same positive direction. The Jacobian of a homogeneous net
        stretches that direction as it stretches h, `excess` times as much as the rest; it is one direction in D, and
        the limit holds while it stays negligible.
        """
        return self.order == "linear-relu" and self.skip > 0.0 and excess > 0.05 * self.width

    @cached_property
    def _normalised(self) -> batchnorm.BatchNormLimit:
        return batchnorm.forward(self.depth, batch=self.batch, branch=self.branch, gain=self.gain, order=self.order)

    @cached_property
    def _normalised_gradient(self) -> tuple[Array, Array] | None:
        """Log of the mean and mean of the log over what the batch's cotangents have in common, (K + 1,) each."""
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
        )
        return np.log(growth @ weights), np.log(growth) @ weights

    @property
    def _strength(self) -> float:
        """How much of a block's growth is random, between 0 and 1: bias bounds shrink with it."""
        return min(1.0, 4.0 * self.branch_share)

    @property
    def _first_bias(self) -> float:
        return (4.0 / self.batch + 2.0 / self.width) ** 2 / self.width

    def _limit_bias(self, block: int) -> float:
        matrices = 1.5 if self.order == "two-layer" else 1.0
        return 4.0 * matrices * self._strength * self._memory_of_scale(block) / self.width

    def _memory_of_scale(self, blocks: int) -> float:
        """A plain GELU net's growth depends on its scale, so that errors of the level feed the increments."""
        return 1.0 + blocks / 2.0 if self.activation == "gelu" and self.skip == 0.0 else 1.0

    @property
    def _gradient_bias(self) -> float:
        matrices = 2.0 if self.order == "two-layer" else 1.0
        # E[1 / sigma^2] over units has heavy tails at small batches, which a finite width samples badly.
        heavy_tails = 1.0 + 12.0 / (self.batch - 3) if self.batch_normalised else 1.0
        return 3.2 * matrices * self._strength * heavy_tails / self.width

    @property
    def _mean_bias(self) -> float:
        return 4.0 / self.width

    def _added_bias(self, block: int) -> float:
        """Of what a block with batch normalisation adds."""
        if block == 0:
            return 8.0 / self.width
        return (max(4.0, self.batch / 6.0) if self.order == "linear-relu" else 1.5) / self.width
