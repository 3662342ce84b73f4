"""How fast gradients grow through a plain network whose every layer is batch normalised.

    linear-relu-bn:  z' = BN(relu(W z))          linear-bn-relu:  h' = relu(BN(W h))          W ~ N(0, 2 / D)

With batch normalisation and ReLU, no skip connections, the gradient grows at every layer on its way down: its variance
(its square) by pi / (pi - 1) = 1.467, its standard deviation (its norm) by the square root, 1.211, both for a batch B
that tends to infinity. At finite B it grows faster; that law is exact at infinite width for linear-bn-relu and a Monte
Carlo integral over one unit for linear-relu-bn (theory/batchnorm_growth.py). A batch of 2 gives zero gradients, and
1 / sigma^2 has no mean below 4.

The gradient is that of an independent direction for each example. The first layers after the input and the first after
the output are transients: `burn_in` of them at each end are shown and not judged.

Source: Prince 2023, problem 11.13; Yang et al. 2019.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.experiment import Plot, param
from resexp.core.initialisation import Initialisation
from resexp.core.lab import Lab
from resexp.core.network import NormedOrder
from resexp.core.result import Prediction, Quantity, Row, TheoryKind
from resexp.core.schemes import Scheme

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.signal.stack import Stack


class BatchNorm(Ensemble):
    """Growth of the gradient per layer of a plain batch-normalised network, against the finite-batch law."""

    order: NormedOrder = param("linear-relu-bn", "order of the layers; problem 11.13 has the first")
    depth: int = param(30, "layers", ge=1, le=100_000_000)
    width: int = param(200, "units D of every layer, and inputs", ge=2, le=1_000_000)
    batch: int = param(64, "examples B a network sees", ge=1, le=100_000_000)
    draws: int = param(64, "independent random networks", ge=2, le=100_000_000)
    burn_in: int | None = param(None, "layers at each end that are not judged; 5, fewer in a shallow net", ge=1)

    version: ClassVar[int] = 3
    axes = ("block",)
    quantities = (
        Quantity(
            "gradient_second_moment",
            "second moment of the gradient after each layer, relative to the last one judged",
            margin=0.01,
            headline="gradient_variance_growth",
            reverse=True,
        ),
        Quantity(
            "gradient_norm",
            "norm of the gradient after each layer",
            margin=0.005,
            headline="gradient_norm_growth",
            reverse=True,
            hidden=True,
        ),
        Quantity("burn_in_gradient_second_moment", "the same in the layers not judged", judged="nothing"),
    )
    plot = Plot(x="block", log_y=True)
    quick: ClassVar = {"depth": 14, "width": 200, "batch": 32, "draws": 64}
    examples = (
        "batchnorm",
        "batchnorm --order linear-relu-bn,linear-bn-relu --format table",
        "batchnorm --batch 8,16,64,256 --width 100 --format table",
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.batch < 4:
            raise ValueError(
                f"--batch {self.batch}: with fewer than 4 examples batch normalisation is degenerate: two are mapped "
                "to +1 and -1 whatever they are, so that the gradient is zero, and for three 1 / variance has no mean."
            )
        if self.depth < 3:
            raise ValueError(f"--depth {self.depth}: between a transient layer at each end nothing is left to judge.")
        if self.depth - 2 * self.transient < 1:
            raise ValueError(
                f"--burn-in {self.burn_in}: leaves no layer of {self.depth}; at most {(self.depth - 1) // 2} will do."
            )
        return self

    @property
    def transient(self) -> int:
        """Layers at each end that are not judged."""
        return min(5, (self.depth - 1) // 2) if self.burn_in is None else self.burn_in

    @property
    def stack(self) -> "Stack":
        """The network in the terms of the propagation engine."""
        from resexp.signal.stack import Stack

        plain, he = Scheme(skip=0.0, branch=1.0), Initialisation("he")
        return Stack(self.depth, self.width, self.batch, plain, self.order, he, "relu", "independent")

    def measure(self, lab: Lab) -> Iterator[Row]:
        """The gradient after each layer, relative to that after the last judged layer."""
        import numpy as np

        from resexp.core.statistics import LN2, Samples
        from resexp.signal.ensemble import propagate

        p = propagate(lab, self.stack, self.draws, forward=False)
        last = self.depth - self.transient
        with np.errstate(divide="ignore"):
            log = np.log(p.gradient) + 2 * LN2 * p.gradient_exponent  # (depth + 1, draws)
        for block, relative in enumerate(log - log[last]):
            judged = self.transient <= block <= last
            name = "gradient_second_moment" if judged else "burn_in_gradient_second_moment"
            yield Row({"block": block}, name, Samples.from_log(relative))
            if judged:
                yield Row({"block": block}, "gradient_norm", Samples.from_log(relative / 2))

    def theory(self, quantity: str, block: int) -> Prediction | None:
        """The finite-batch growth, layer by layer; nothing for the layers that are not judged."""
        if quantity == "burn_in_gradient_second_moment":
            return None
        if self.order == "linear-relu-bn" and self.batch < 5:
            return None
        chi, stderr, kind = _growth(self.order, self.batch)
        power = 1.0 if quantity == "gradient_second_moment" else 0.5
        layers = self.depth - self.transient - block
        bias = FINITE_WIDTH * (1 + 12 / (self.batch - 3) ** 2) / self.width + 4 * stderr / chi
        return Prediction(kind, log=power * layers * math.log(chi), bias=power * bias, is_definition=layers == 0)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """The limits of a large batch, which the textbook gives."""
        yield "gradient_variance_growth_large_batch", None, math.pi / (math.pi - 1), "limit"
        yield "gradient_norm_growth_large_batch", None, math.sqrt(math.pi / (math.pi - 1)), "limit"

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes of the engine's plan."""
        from resexp.signal.plan import plan

        return plan(lab, self.stack, self.draws, self.depth + 1).memory

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds, from a few layers of one tile of networks run here."""
        from resexp.signal.ensemble import estimate_seconds

        return estimate_seconds(lab, self.stack, self.draws, self.depth + 1)


FINITE_WIDTH = 2.5
"""Bound on what a finite width adds to the log growth of a layer at a large batch, times the width; measured at widths
50 to 400 and batches 8 to 256. At small batches 1 / sigma^2 over units has heavy tails, hence the factor beside it."""


@lru_cache(maxsize=16)
def _growth(order: NormedOrder, batch: int) -> tuple[float, float, TheoryKind]:
    """Growth of the squared gradient a layer, its standard error, and the kind of theory."""
    from resexp.theory import batchnorm_growth

    if order == "linear-bn-relu":
        return batchnorm_growth.linear_bn_relu(batch), 0.0, "limit"
    return *batchnorm_growth.linear_relu_bn(batch), "monte-carlo"
