"""Why the two branches of a residual block are uncorrelated, over what, and why then their variances add.

    h[k] = a h[k-1] + b f(h[k-1]),      second moments   q[k] = a^2 q[k-1] + b^2 q_f + 2 a b E[h f]

`Uncorrelated` is a statement over weights. f ends in weights that are fresh and zero-mean, and h[k-1] was made without
them, so that E[f | h] = 0 and E[h f] = E[h E[f | h]] = 0: exactly, at any width, with batch normalisation too. That is
less than independence (f is large where h is large), but all that the sum of the variances needs. Measured are, with
their expectations over networks:

Correlation over weights: the mean product of h and f over units and inputs, over both root mean squares of the same
network. Both have mean zero. Exactly 0, as many networks above as below.

Absolute cosine: |cos| of h and f over the units of one input. One network is not at 0 but about sqrt(2 / (pi D)) away,
exactly Gamma(D/2) / (sqrt(pi) Gamma((D+1)/2)), because f points anywhere. Judged by its root, whose law over networks
is less skew.

Squared correlation over inputs: of one unit of one network, weights held fixed; mean over units. Not 0 either, and more
inputs do not help: 1 / (D (1 - 1/pi)) in the first block (with one layer in the branch its law is exact at any width),
and more later, where units have more of their past in common (leading order in 1/D, given as far as that is close). The
correlation of a sample of B inputs has another 1 / (B - 1) from sampling, which is taken off without bias; that takes 4
inputs.

Second moment over sum: q[k] / (a^2 q[k-1] + b^2 q_f). Exactly 1 in the mean over networks; a network is off by about
2 a b / (a^2 + b^2) times its own correlation. Variance over sum: the same for the variance over units.

With ReLU last (linear-relu) f has a mean, and so has h from the first block on. Units of f are alike given h, so that
the covariance over units is still zero and the variances over units still add, exactly. But E[h f] = E[h] E[f] is not
zero from the second block on, and the second moments do not add: product and excess follow the recursion of infinite
width.

Source: Prince 2023, problem 11.4, figures 11.5 and 11.6; formulas derived in resexp/theory/branch_correlation.py.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Plot, param
from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.network import Order
from resexp.core.result import Prediction, Quantity, Row
from resexp.core.schemes import Scheme, check_scales, scheme

if TYPE_CHECKING:
    from torch import Tensor

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Summary
    from resexp.signal.forward import Block
    from resexp.signal.stack import Stack

TwoBranches = Literal["residual", "rescaled", "stable", "batchnorm"]

FEWEST_INPUTS = 4  # that give a squared covariance without bias (signal/over_inputs.py)
NUMBERS = 9  # read off a block of each network
OVER_INPUTS = 2.0  # relative bias of the law over inputs times width, over the cube of its growth since block 1 ...
OVER_INPUTS_TWO_LAYER = 4.0  # ... measured at widths 64 to 1600: up to 1.5 and 3.4
LOOSEST = 0.25  # relative bias up to which that law is given
RELU_LAST = 0.6  # bias of the limits with ReLU last, times the width; measured at widths 2 to 64: up to 0.42


class Independence(Ensemble):
    """Whether skip and branch of a residual block are uncorrelated, over what, and whether their variances add.

    Correlation over weights, in one network over its units and over its inputs, and the second moment of the sum.
    """

    depth: int = param(20, "residual blocks K", ge=1, le=10_000)
    width: int = param(100, "units D of every layer, and inputs", ge=2, le=100_000)
    batch: int = param(100, "examples B a network sees", ge=1, le=10_000_000)
    draws: int = param(256, "independent random networks", ge=2, le=10_000_000)
    scheme: TwoBranches = param("residual", "how a block adds its branch to the skip connection")
    order: Order = param("relu-linear", "order of layers in the branch, figure 11.5 b, a, c")

    version: ClassVar[int] = 2
    axes = ("block",)
    plot = Plot(x="block")
    quick: ClassVar = {"depth": 5, "width": 64, "batch": 24, "draws": 256}
    examples = (
        "independence",
        "independence --order relu-linear,linear-relu --depth 10",
        "independence --width 50,100,200,400 --depth 3 --draws 64",
        "independence --scheme batchnorm --batch 1000 --draws 64",
    )

    @model_validator(mode="after")
    def _batchnorm_needs_a_batch(self) -> Self:
        check_scales(self.scheme, None, self.batch)
        return self

    @property
    def scales(self) -> Scheme:
        """Scales of skip and branch."""
        return scheme(self.scheme, self.depth)

    @property
    def stack(self) -> "Stack":
        """The network in the terms of the engine."""
        from resexp.signal.stack import Stack

        he = Initialisation("he")
        return Stack(self.depth, self.width, self.batch, self.scales, self.order, he, "relu", "independent")

    def quantities_here(self) -> tuple[Quantity, ...]:
        """What is measured; a squared correlation is judged to a tenth of that of the first block."""
        from resexp.theory import branch_correlation

        return (
            Quantity(
                "correlation_over_weights",
                "product of skip and branch over units and inputs, over both root mean squares",
                positive=False,
                judged="level",
                headline="mean_correlation_over_weights",
            ),
            Quantity(
                "absolute_cosine",
                "|cosine| of skip and branch over the units of one input, mean over inputs",
                judged="level",
                margin=0.05,
            ),
            Quantity(
                "squared_correlation_over_inputs",
                "squared covariance of a unit's skip and branch over inputs, over the product of their variances",
                judged="ratio",
                margin=0.1 * branch_correlation.first_block(self.width),
            ),
            Quantity(
                "second_moment_over_sum",
                "second moment after the block over the sum of its two parts'",
                positive=False,
                judged="level",
                headline="mean_second_moment_over_sum",
            ),
            Quantity(
                "variance_over_sum",
                "variance over units after the block over the sum of its two parts'",
                positive=False,
                judged="level",
                headline="mean_variance_over_sum",
            ),
        )

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Run the networks forward and lay out what was read off each block."""
        from resexp.core.statistics import Samples
        from resexp.signal.forward import read_off
        from resexp.theory.branch_correlation import mean_absolute_cosine

        read = read_off(lab, self.stack, self.draws, self._read)
        expected = mean_absolute_cosine(self.width, power=0.5)
        for k in range(self.depth):
            place = {"block": k + 1}
            yield Row(place, "correlation_over_weights", Samples.of(read["correlation"][k]))
            root = read["root_of_cosine"][k] / expected  # |cos| is too skew over networks for a t-test of few of them
            yield Row(place, "absolute_cosine", Samples.of(read["absolute_cosine"][k]), statistic=root)
            if self.batch >= FEWEST_INPUTS:
                # Later networks differ in scale by a log-normal factor, and few of them would carry the means.
                own = "" if k == 0 else "_scaled"
                square, product = read["squared_covariance" + own][k], read["product_of_variances" + own][k]
                yield Row(place, "squared_correlation_over_inputs", Samples.of(square), denominator=product)
            yield Row(place, "second_moment_over_sum", Samples.of(read["second_moment_over_sum"][k]))
            yield Row(place, "variance_over_sum", Samples.of(read["variance_over_sum"][k]))

    def _read(self, block: "Block") -> "Mapping[str, Tensor]":
        """The numbers of one block, (networks,) each."""
        import torch

        from resexp.signal.over_inputs import over, squared_covariances

        h, f, sum_of_both = block.skip, block.branch, block.after
        overlap = torch.linalg.vecdot(h, f, dim=2)  # (networks, batch)
        lengths = torch.linalg.vector_norm(h, dim=2) * torch.linalg.vector_norm(f, dim=2)
        cosines = over(overlap.abs(), lengths)
        numbers = {
            "correlation": over(overlap.sum(1), (_square(h) * _square(f)).sqrt()),
            "absolute_cosine": cosines.mean(1),
            "root_of_cosine": cosines.sqrt().mean(1),
            "second_moment_over_sum": self._over_sum(_square(sum_of_both), _square(h), _square(f)),
            "variance_over_sum": self._over_sum(*map(_variance_over_units, (sum_of_both, h, f))),
        }
        if self.batch >= FEWEST_INPUTS:
            numbers |= squared_covariances(h, f)
        return numbers

    def _over_sum(self, whole: "Tensor", skip: "Tensor", branch: "Tensor") -> "Tensor":
        return whole / (self.scales.skip**2 * skip + self.scales.branch**2 * branch)

    def theory(self, quantity: str, block: int) -> Prediction | None:
        """Exact wherever the branch ends in its weights; limits elsewhere, as far as they hold."""
        if quantity == "variance_over_sum":
            return Prediction("exact", value=1.0)
        if quantity == "squared_correlation_over_inputs":
            return self._over_inputs(block)
        if quantity == "absolute_cosine":
            return self._absolute_cosine()
        cosine, bias = 0.0, 0.0
        if self.order == "linear-relu" and block > 1:
            if self.scales.batchnorm:
                return None
            cosine, bias = _relu_last(self)[block - 1], RELU_LAST / self.width
        if quantity == "second_moment_over_sum":
            cross = 2 * self.scales.skip * self.scales.branch / self.scales.gain  # h and f are equally large
            cosine, bias = 1.0 + cross * cosine, cross * bias
        return Prediction("limit" if bias else "exact", value=cosine, bias=bias)

    def _absolute_cosine(self) -> Prediction | None:
        from resexp.theory.branch_correlation import mean_absolute_cosine

        if self.order == "linear-relu" or self.dies:
            return None
        return Prediction("exact", value=mean_absolute_cosine(self.width), judged=1.0)

    def _over_inputs(self, block: int) -> Prediction | None:
        """Exact in the first block; to leading order in 1/width as long as that is close."""
        from resexp.theory.branch_correlation import first_block

        if self.scales.batchnorm:
            return None  # which ties the inputs of a batch together
        if block == 1 and self.order != "two-layer":
            return Prediction("exact", value=first_block(self.width))
        if self.order == "linear-relu" or block > len(law := _law_over_inputs(self)):
            return None
        constant = OVER_INPUTS_TWO_LAYER if self.order == "two-layer" else OVER_INPUTS
        bias = constant * (law[block - 1] / law[0]) ** 3 / self.width
        if bias > LOOSEST:
            return None
        value = law[block - 1] / self.width
        return Prediction("finite-width", value=value, bias=bias * value)

    @property
    def dies(self) -> bool:
        """Whether an input's branch is zero for ever in more than a few networks: all its units negative at once."""
        from resexp.theory.unit_switching import networks_die

        return networks_die(self.depth, self.width, self.batch)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """How large the correlations of one network are in the first block, where they are smallest."""
        from resexp.core.statistics import summarise

        cosine = measured["absolute_cosine"]
        said = cosine.predictions[0]
        value = said.value if said is not None else None
        yield "absolute_cosine_first_block", summarise(cosine.rows[0].samples, positive=True), value, "exact"
        over_inputs = measured.get("squared_correlation_over_inputs")
        if over_inputs is not None:
            said = over_inputs.predictions[0]
            root = math.sqrt(said.value) if said is not None and said.value is not None else None
            kind = said.kind if said is not None else "exact"
            yield "correlation_over_inputs_first_block", _root_mean_square(over_inputs.rows[0]), root, kind

    def notes(self) -> Iterable[str]:
        """Say where networks are too narrow."""
        if self.dies and self.order != "linear-relu":
            yield (
                f"At width {self.width} some inputs turn all units off, and their branch is zero: its cosine is taken "
                "as 0, and no theory is given for it. Use a larger --width."
            )

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes of one tile on each thread, and of the numbers read off."""
        from resexp.signal.forward import memory

        return memory(lab, self.stack, self.draws, NUMBERS)

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds, from a few blocks of one tile of networks run here."""
        from resexp.signal.forward import seconds

        return seconds(lab, self.stack, self.draws, self._read)


def _root_mean_square(row: Row) -> "Summary | None":
    """Root of a ratio of means and of its interval; None where sampling made the ratio negative."""
    from resexp.core.statistics import Summary, summarise_ratio

    square = summarise_ratio(row.samples.mantissa, row.denominator) if row.denominator is not None else None
    if square is None or square.mean is None or square.stderr is None or square.mean <= 0:
        return None
    mean = math.sqrt(square.mean)
    low, high, median = (math.sqrt(max(x or 0.0, 0.0)) for x in (square.ci_low, square.ci_high, square.median))
    return Summary(mean, square.stderr / (2 * mean), low, high, median, square.draws, square.effective_draws)


def _square(x: "Tensor") -> "Tensor":
    """Sum of squares over batch and units, (networks,)."""
    import torch

    norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2))
    return norm.square()


def _variance_over_units(x: "Tensor") -> "Tensor":
    """Sum over the batch of squares about the mean over units, (networks,)."""
    return _square(x - x.mean(2, keepdim=True))


@lru_cache(maxsize=32)
def _law_over_inputs(experiment: Independence) -> list[float]:
    """Width times the squared correlation over inputs, to leading order, of the first blocks."""
    from resexp.theory.branch_correlation import over_inputs

    scales, gain = experiment.scales, Initialisation("he").gain()
    two_layer = experiment.order == "two-layer"
    law = over_inputs(experiment.depth, skip=scales.skip, branch=scales.branch, gain=gain, two_layer=two_layer)
    return [float(value) for value in law]


@lru_cache(maxsize=32)
def _relu_last(experiment: Independence) -> list[float]:
    """Limit of the correlation about zero of each block whose branch ends in ReLU."""
    from resexp.theory import infinite_width
    from resexp.theory.branch_correlation import relu_last_cosine

    scales = experiment.scales
    block = infinite_width.Block(
        skip=scales.skip,
        branch=scales.branch,
        inner=scales.inner,
        gain=Initialisation("he").gain(),
        order=experiment.order,
        activation="relu",
    )
    limit = infinite_width.stack(experiment.depth, block)
    return [relu_last_cosine(float(mean)) for mean in limit.relative_mean]
