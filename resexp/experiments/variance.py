"""How activations and gradients grow with depth in a residual network at initialisation.

    h[0] = W x,   h[k+1] = a h[k] + b f(h[k]),   y = w'h[K],   x ~ N(0, 1),   no biases

with f(h) = W phi(h) (relu-linear), phi(W h) (linear-relu) or W2 phi(W1 phi(h)) (two-layer), batch normalisation first
in the branch where the scheme asks for it. With He weights, variance 2 / fan-in, the first layer gives h a second
moment of 2, not 1; each block multiplies it by a^2 + b^2, so that a = b = 1 doubles it and a = b = 1/sqrt 2 keeps it.

What is exact: the first block's growth, E[q' | h] = a^2 q + b^2 gain mean(phi(h)^2) for every block at any width, and
that a branch which ends in its weights adds nothing to the mean of h.
What is a limit: growth by exactly a^2 + b^2 (infinite width), and the same for the squared gradient. At finite width
the mean grows a little faster, the typical network more slowly (theory/finite_width.py). The variance over the batch
is not the second moment: it grows by g (1 - c') / (1 - c), 1.68 in the first block and 2 only much later, because
inputs become correlated (c). With batch normalisation the second moment gains 1 a block, the batch variance 1 - 1/pi.

q is the mean square over units and batch of one network; what is judged is log(q[k+1] / q[k]) over networks, with
batch normalisation q[k+1] - q[k]. Gradients are those of a scalar with respect to h[k], relative to the last block.

Engines: `explicit` multiplies by real weight matrices. `law` samples what a product with normal weights does to the
batch at hand, forward and backward, exactly in law and, for one input at width 100, some thirty times as fast; it
samples the statistics of networks, not networks. Both go as deep as you like: a million blocks take minutes.

Source: Prince 2023, sections 11.1 to 11.4, figures 7.7, 11.5 and 11.6, problems 11.5 and 11.6; He et al. 2015;
Hanin and Nica 2019; Yang et al. 2019; De and Smith 2020.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble, evenly_spaced
from resexp.core.experiment import Plot, param
from resexp.core.initialisation import Initialisation, InitialisationName, check_law
from resexp.core.lab import Lab
from resexp.core.network import ActivationName, Cotangent, Engine, Order
from resexp.core.result import Prediction, Quantity, Row
from resexp.core.schemes import Scheme, SchemeName, check_scales, scheme

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.signal.observer import Pass
    from resexp.signal.stack import Stack
    from resexp.theory.residual_stack import StackTheory

ROUNDING = 1e-6  # of a base-2 logarithm: doubling must count as reaching the next power of two
MOST_BLOCKS = 1e300  # an overflow later than that is as good as none
NARROWEST_JUDGED = 32  # units: below, the law of one block's square is too skew for a t-test
SMALLEST_NORMAL = {"float32": 2.0**-126, "float64": 2.0**-1022}
FINEST = 2.0**10  # root mean square, over the smallest normal number, below which activations have lost their digits
NEVER = 1e7
"""Blocks beyond which nobody waits for an overflow: what grows by an amount a block leaves float32 after 1e38."""
LARGEST_LOG2 = {"float16": math.log2(65504.0), "float32": 128.0, "float64": 1024.0}


class Variance(Ensemble):
    """How activations and gradients grow block by block, forward and backward, against theory.

    Second moment, variance over the batch and mean of the activations, second moment of the gradient.
    """

    depth: int = param(50, "residual blocks K", ge=1, le=100_000_000)
    width: int = param(100, "units D of every layer, and inputs", ge=2, le=1_000_000)
    batch: int = param(100, "examples a network sees", ge=1, le=100_000_000)
    draws: int = param(256, "independent random networks", ge=2, le=100_000_000)
    scheme: SchemeName = param("residual", "how a block adds its branch to the skip connection")
    alpha: float | None = param(None, "scale of the branch; overrides the scheme's", ge=0, le=1e6)
    order: Order = param("relu-linear", "order of layers in the branch, figure 11.5 b, a, c")
    init: InitialisationName = param("he", "law of the weights")
    activation: ActivationName = param("relu", "activation function phi")
    cotangent: Cotangent = param(
        "loss", "scalar whose gradient is taken: least squares, an independent direction for each example, or the sum"
    )
    engine: Engine = param(
        "explicit", "explicit multiplies by real matrices; law samples the products' statistics, not a network"
    )
    rows: int = param(201, "most blocks to list, evenly spaced; the computation leaves none out", ge=2, le=100_001)

    version: ClassVar[int] = 4
    axes = ("block",)
    plot = Plot(x="block", log_y=True)
    quick: ClassVar = {"depth": 8, "width": 64, "batch": 16, "draws": 256}
    examples = (
        "variance --depth 50",
        "variance --scheme plain,residual,rescaled --depth 20",
        "variance --scheme batchnorm --plot batchnorm.svg",
        "variance --depth 1000000 --draws 4 --batch 1 --engine law",
    )

    @model_validator(mode="after")
    def _something_goes_through(self) -> Self:
        check_scales(self.scheme, self.alpha, self.batch)
        return self

    @model_validator(mode="after")
    def _law_serves_these_weights(self) -> Self:
        if self.engine == "law":
            check_law(self.init, self.batch, self.width)
        return self

    @property
    def scales(self) -> Scheme:
        """Scales of skip and branch."""
        return scheme(self.scheme, self.depth, self.alpha)

    @property
    def stack(self) -> "Stack":
        """The same network in the terms of the propagation engine."""
        from resexp.signal.stack import Stack

        init = Initialisation(self.init)
        return Stack(self.depth, self.width, self.batch, self.scales, self.order, init, self.activation, self.cotangent)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Blocks that are listed."""
        return evenly_spaced(self.depth, self.rows)

    @property
    def recorded(self) -> tuple[int, ...]:
        """Blocks that are looked at: those listed, and before each the one that it is judged against."""
        return tuple(sorted({*self.blocks, *(block - 1 for block in self.blocks[1:])}))

    def quantities_here(self) -> tuple[Quantity, ...]:
        """With batch normalisation the signal grows by addition, and is judged so."""
        if self.scales.batchnorm:
            margin = 0.02 * self.scales.branch**2 * Initialisation(self.init).gain() / 2
            forward = (
                Quantity(
                    "activation_second_moment",
                    "second moment of h over units and batch",
                    judged="increments",
                    margin=margin,
                    headline="activation_added_per_block",
                ),
                Quantity(
                    "activation_batch_variance",
                    "variance of h over the batch, mean over units",
                    judged="increments",
                    margin=margin,
                    headline="batch_variance_added_per_block",
                ),
            )
        else:
            forward = (
                Quantity(
                    "activation_second_moment",
                    "second moment of h over units and batch",
                    headline="activation_growth_per_block",
                ),
                Quantity(
                    "activation_batch_variance",
                    "variance of h over the batch, mean over units",
                    headline="batch_variance_growth_per_block",
                ),
            )
        return (
            *forward,
            Quantity("activation_mean", "mean of h over units and batch", positive=False, judged="level"),
            Quantity(
                "gradient_second_moment",
                "second moment of the gradient at h, relative to the last block",
                headline="gradient_growth_per_block",
                reverse=True,
            ),
            Quantity(
                "conditional_second_moment",
                "second moment after a block over its expectation given the block's input",
                judged="level",
                headline="second_moment_over_expected",
                hidden=True,
            ),
        )

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Propagate the networks and lay out what was read off at each block."""
        import numpy as np

        from resexp.core.statistics import Samples
        from resexp.signal.ensemble import propagate

        p = propagate(lab, self.stack, self.draws, self.recorded, self.engine)
        smallest = FINEST**2 * SMALLEST_NORMAL[lab.dtype] ** 2
        second_moment = np.where(p.second_moment < smallest, np.nan, p.second_moment)
        for block in self.blocks:
            k, place = p.row(block), {"block": block}
            yield Row(place, "activation_second_moment", Samples(second_moment[k], 2 * p.exponent[k]))
            if self.batch > 1:
                yield Row(place, "activation_batch_variance", Samples(p.batch_variance[k], 2 * p.exponent[k]))
            mean = Samples(p.activation_mean[k], p.exponent[k])
            yield Row(place, "activation_mean", mean, statistic=self._mean_statistic(p, k))
            gradient = Samples.from_ratio(
                p.gradient[k], p.gradient[-1], 2 * (p.gradient_exponent[k] - p.gradient_exponent[-1])
            )
            yield Row(place, "gradient_second_moment", gradient)
            if block > 0 and self.order != "linear-relu":
                with np.errstate(invalid="ignore"):
                    growth = second_moment[k] * np.exp2(2.0 * (p.exponent[k] - p.exponent[k - 1]))
                    ratio = growth / p.expected_second_moment[k - 1]
                yield Row(place, "conditional_second_moment", Samples.of(ratio), statistic=ratio)

    def _mean_statistic(self, p: "Pass", k: int) -> "Array":
        """The mean of what a block added over its root mean square given the block's input, (draws,).

        k: row of the Pass. Of h itself, over its root mean square, at block 0 and where the branch does not end in its
        weights.
        """
        import numpy as np

        with np.errstate(invalid="ignore", divide="ignore"):  # a network that left the range, or died
            if k == 0 or self.order == "linear-relu" or self.scales.branch == 0:
                return np.asarray(p.activation_mean[k] / np.sqrt(p.second_moment[k]))
            skip, before = self.scales.skip, k - 1
            added_square = p.expected_second_moment[before] - skip**2 * p.second_moment[before]
            mean = p.activation_mean[k] * np.exp2(1.0 * (p.exponent[k] - p.exponent[before]))
            return np.asarray((mean - skip * p.activation_mean[before]) / np.sqrt(added_square))

    def theory(self, quantity: str, block: int) -> Prediction | None:
        """The closed form, the limit, or None where neither is known."""
        if quantity == "conditional_second_moment":
            return Prediction("exact", value=1.0) if self.width >= NARROWEST_JUDGED else None
        expected = getattr(_theory(self), quantity)(block)
        return None if expected is None else Prediction(**vars(expected))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """Growth where it is not judged as such, and the blocks at which the second moment leaves each dtype."""
        from resexp.core.statistics import Samples, summarise, summarise_growth

        second_moment = measured["activation_second_moment"]
        if self.scales.batchnorm:
            log = second_moment.rows[-1].samples.log - second_moment.rows[0].samples.log
            growth = summarise_growth(log / self.depth)
            yield "activation_growth_per_block", growth, _theory(self).growth_per_block_limit, "limit"
        for dtype, largest in LARGEST_LOG2.items():
            if (self._overflow_limit(largest) or 0.0) > NEVER:
                continue
            blocks = self._first_block_beyond(second_moment, largest)
            summary = summarise(Samples.of(blocks), positive=True) if blocks is not None else None
            yield f"overflow_block_{dtype}", summary, self._overflow_limit(largest), "limit"

    def notes(self) -> Iterable[str]:
        """Say where networks are too narrow for the theory of living ones."""
        if _theory(self).dies:
            yield (
                f"At width {self.width} and depth {self.depth} networks die: once all units are negative the branch is "
                "zero for ever. No theory is given; use a larger --width."
            )

    def _overflow_limit(self, largest: float) -> float | None:
        """First block beyond 2**largest at infinite width; None where the scales depend on depth."""
        return None if self._depends_on_depth else _theory(self).first_block_beyond(largest)

    @property
    def _depends_on_depth(self) -> bool:
        """Whether a deeper network has other scales, so that no growth can be carried on beyond the depth."""
        own = self.scheme == "stable" and self.alpha is None
        return own or (self.scheme == "fixup" and self.order == "two-layer")

    def _first_block_beyond(self, second_moment: "Measured", largest: float) -> "Array | None":
        """First block whose second moment reaches 2**largest, of each network, (draws,).

        Where depth does not reach it, the growth of the last half of the blocks is carried on: by a factor, with
        batch normalisation by a sum. None where some network never gets there.
        """
        import numpy as np

        log2 = np.stack([row.samples.log2 for row in second_moment.rows], axis=1)  # (draws, depth + 1)
        if not np.isfinite(log2).all():
            return None
        beyond = log2 >= largest - ROUNDING
        reached = self._interpolated(log2, beyond.argmax(axis=1), largest)
        if beyond.any(axis=1).all():
            return reached
        if self._overflow_limit(largest) is None or self.activation not in {"relu", "linear"}:
            return None
        middle = len(self.blocks) // 2
        half, last = log2[:, middle], log2[:, -1]
        blocks = self.depth - self.blocks[middle]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            if self.scales.batchnorm:
                more = np.exp2(min(largest, 1023.0)) / ((np.exp2(last) - np.exp2(half)) / blocks)
            else:
                more = np.ceil((largest - last) / ((last - half) / blocks) - ROUNDING)
        carried_on = np.where(beyond.any(axis=1), reached, self.depth + more)
        usable = bool(np.isfinite(carried_on).all() and carried_on.min() >= 0 and carried_on.max() < MOST_BLOCKS)
        return np.asarray(carried_on, dtype=np.float64) if usable else None

    def _interpolated(self, log2: "Array", row: "Array", largest: float) -> "Array":
        """First block beyond `largest`, (draws,), on a straight line between listed blocks where rows are thinned."""
        import numpy as np

        blocks, networks, before = np.array(self.blocks, dtype=np.float64), np.arange(len(log2)), np.maximum(row - 1, 0)
        high, low = log2[networks, row], log2[networks, before]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(row > before, (largest - low) / (high - low), 0.0)
        found = blocks[before] + np.ceil((blocks[row] - blocks[before]) * np.clip(share, 0.0, 1.0) - ROUNDING)
        return np.asarray(np.where(row == 0, blocks[0], found))

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes of the engine's plan: it chooses what to keep and what to draw again."""
        from resexp.signal.plan import plan

        return plan(lab, self.stack, self.draws, len(self.recorded), self.engine).memory

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds, from a few blocks of one tile of networks run here."""
        from resexp.signal.ensemble import estimate_seconds

        return estimate_seconds(lab, self.stack, self.draws, len(self.recorded), self.engine)


@lru_cache(maxsize=32)
def _theory(experiment: Variance) -> "StackTheory":
    from resexp.theory.residual_stack import StackTheory

    scales, init = experiment.scales, Initialisation(experiment.init)
    return StackTheory(
        depth=experiment.depth,
        blocks=experiment.blocks,
        width=experiment.width,
        batch=experiment.batch,
        skip=scales.skip,
        branch=scales.branch,
        inner=scales.inner,
        gain=init.gain(),
        order=experiment.order,
        activation=experiment.activation,
        cotangent=experiment.cotangent,
        batch_normalised=scales.batchnorm,
        independent_weights=not init.orthogonal,
    )
