"""How signal and gradient grow in a residual net of convolutions with each of the normalisers, by depth and batch size.

    h[0] = W x,   h[k+1] = h[k] + W relu(norm(h[k])),     W 3 x 3, He, edges wrapped around, x ~ N(0, 1), training mode

A normaliser takes mean and variance of N values: batch of all examples and pixels of a channel, ghost:G of at least G
examples, instance of one image of a channel, group:G of 1/G of the channels of one image, layer of all of them. Weight
normalisation acts on weights, and at initialisation (lengths as drawn) does nothing. Batch renormalisation has settled
here: it holds on to the statistics of 64 examples. `resexp normaliser-axes` draws them all.

    activation_second_moment   2 + k with any normaliser (2 for the first convolution, 1 a block): a factor
                               (3 + k) / (2 + k); doubling without; nothing is added for N = 1, where z = 0
    gradient_second_moment     over that at the last block, for an independent direction in each entry: grows by
                               1 + (1 - 2/N) E[1 / sigma^2] a block towards the input; doubling without
    companion_share            how far an example's signal depends on the rest of its batch: half the mean squared
                               difference between two batches that share it, over its second moment

What fails at a batch of 2: an example's signal depends on the other one, and where that leaves N = 2 values (--side 1),
z is +1 and -1 whatever h is, and no gradient comes through a branch but where eps counts. Settled batch renormalisation
repairs the first and not the second. Layer, group, instance and weight normalisation are blind to the batch:
companion_share is 0, exactly.

The theory (theory/normaliser_growth.py) is a limit: infinite channels, inputs white over space and examples. There is
none for the gradient at N = 2 and 3, where 1 / sigma^2 has no mean, nor for the companions of batch-like normalisers.

Source: Prince 2023, section 11.4 and figure 11.14; Ioffe and Szegedy 2015; Hoffer et al. 2017; Ioffe 2017; Ba et al.
2016; Wu and He 2018; Ulyanov et al. 2016; Salimans and Kingma 2016.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.errors import UsageError
from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row

if TYPE_CHECKING:
    from torch import Tensor

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.nets.normalised import Averaged
    from resexp.signal.weights import NormalSource
    from resexp.theory.normaliser_growth import Growth

GAIN = 2.0
BATCH_LIKE = ("batch", "ghost", "renorm", "montecarlo")
"""Normalisers with which examples depend on each other."""
SETTLED = 64
"""Examples whose statistics batch renormalisation holds on to."""


class Normalisers(Ensemble):
    """Growth of signal and gradient with each normaliser, and how far an example depends on its batch."""

    normaliser: str = param("batch", "batch, ghost:8, renorm, layer, group:4, instance, weight or none")
    depth: int = param(20, "residual blocks K", ge=1, le=10_000)
    batch: int = param(16, "examples B", ge=1, le=100_000)
    channels: int = param(32, "channels C of every layer, and of the input", ge=1, le=10_000)
    side: int = param(4, "height and width of the images, pixels", ge=1, le=1024)
    draws: int = param(32, "independent networks, each with its own input", ge=2, le=1_000_000)

    axes = ("block", "normaliser", "batch")
    quantities = (
        Quantity("activation_second_moment", "mean square over the batch", headline="second_moment_growth"),
        Quantity(
            "gradient_second_moment",
            "mean square of the gradient, over that at the last block",
            headline="gradient_growth",
            reverse=True,
        ),
        Quantity(
            "companion_share", "share of an example's signal that its batch decides", False, judged="level", margin=0.01
        ),
    )
    plot = Plot(x="block", log_y=True)
    quick: ClassVar = {"normaliser": "group:4", "depth": 8, "batch": 4, "channels": 32, "draws": 32}
    examples = (
        "normalisers",
        "normalisers --normaliser none,batch,ghost:4,renorm,layer,group:4",
        "normalisers --normaliser batch,renorm,layer --batch 2,16 --side 1",
        "normalisers --normaliser batch,layer --plot results/normalisers.svg",
    )

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        from resexp.nets.normalised import averaged

        try:
            of = averaged(self.normaliser, self.batch, self.channels)
        except UsageError as error:
            raise ValueError(f"--normaliser {self.normaliser}: {error}") from None
        if self.side == self.batch == 1 and of is not None and of.channels == 1:
            raise ValueError(
                f"--batch 1 --side 1: {self.normaliser} would normalise a single value, which torch refuses: it is its "
                "own mean, and what is left is zero."
            )
        return self

    @property
    def name_alone(self) -> str:
        """Name of the normaliser without its number."""
        return self.normaliser.partition(":")[0]

    @property
    def averaged(self) -> "Averaged | None":
        """What the statistics are of; None where there are none of activations."""
        from resexp.nets.normalised import averaged

        return averaged(self.normaliser, self.batch, self.channels)

    @property
    def values(self) -> int | None:
        """Values N that a statistic is of; None where there is none of activations, or where they differ."""
        of = self.averaged
        if of is None or len(set(of.examples)) > 1:
            return None
        return of.channels * of.examples[0] * self.side**2

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Second moments forward and backward, and what a change of companions does."""
        import numpy as np

        from resexp.core.statistics import Samples
        from resexp.signal.threads import Work, over_threads

        work = Work(lab, self.draws)

        def run(draw: int) -> "Array":
            found = _one(self, lab, draw)
            work.advance()
            return found

        square, gradient, companion = np.stack(over_threads(run, range(self.draws), lab.threads, work), axis=1)
        for block in range(self.depth + 1):
            place = {"block": block, "normaliser": self.normaliser, "batch": self.batch}
            yield Row(place, "activation_second_moment", Samples.of(square[:, block]))
            yield Row(place, "gradient_second_moment", Samples.of(gradient[:, block] / gradient[:, -1]))
            if self.batch > 1:
                yield Row(place, "companion_share", Samples.of(companion[:, block]))

    def theory(self, quantity: str, block: int, normaliser: str, batch: int) -> Prediction | None:
        """The limit of infinite channels; zero for the companions of what is blind to the batch."""
        if quantity == "companion_share":
            return None if self.name_alone in BATCH_LIKE else Prediction("exact", value=0.0)
        law = _law(self)
        if law is None:
            return None
        if quantity == "activation_second_moment":
            first = UNNORMALISED if block == 0 else self._bound
            return Prediction("limit", log=math.log(law.second_moment[block]), bias=first / self.channels)
        if law.gradient is None:
            return None
        log = sum(math.log(factor) for factor in law.gradient[block:])
        bias = self._bound * (1.0 + FEW_VALUES / ((self.values or 64) - 3) ** 2) / self.channels
        return Prediction("limit", log=log, bias=bias, is_definition=block == self.depth)

    @property
    def _bound(self) -> float:
        return UNNORMALISED if self.averaged is None else NORMALISED

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """The far ends in one line each."""
        from resexp.core.measured import theory_value
        from resexp.core.statistics import summarise

        for name, quantity, place in (
            ("second_moment_last_block", "activation_second_moment", -1),
            ("gradient_second_moment_first_block", "gradient_second_moment", 0),
            ("companion_share_last_block", "companion_share", -1),
        ):
            if quantity in measured:
                row, said = measured[quantity].rows[place], measured[quantity].predictions[place]
                positive = measured[quantity].quantity.positive
                kind = "limit" if said is None else said.kind
                yield name, summarise(row.samples, positive=positive), theory_value(said), kind

    def notes(self) -> Iterator[str]:
        """What is averaged over, and what becomes of it with few values."""
        from resexp.theory.normaliser_axes import over, picture

        of = self.averaged
        if of is None:
            yield f"{self.normaliser}: {over(self.name_alone)}; no example depends on another."
            return
        if self.values is None:
            yield f"{self.normaliser}: ghost batches of different sizes; no theory."
            return
        yield (
            f"{self.normaliser}: each statistic is of {self.values:,} values, {over(self.name_alone)}.\n"
            f"One of them, examples side by side, a cell a channel: "
            f"{picture(self.batch, self.channels, of.examples[0], of.channels)}"
        )
        yield from FAILS.get(self.values, ())

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes of a net and its graph on each thread."""
        from resexp.nets.normalised import memory

        return memory(lab, channels=self.channels, depth=self.depth, batch=self.batch, side=self.side)

    def estimate_seconds(self, lab: Lab) -> float:
        """Seconds, from one net of at most four blocks run here."""
        import time

        import torch

        torch.set_num_threads(1)
        short = self.model_copy(update={"depth": min(self.depth, 4)})
        _one(short, lab, 0)
        start = time.perf_counter()
        _one(short, lab, 0)
        return (time.perf_counter() - start) * (self.depth + 1) / (short.depth + 1) * self.draws / lab.threads


UNNORMALISED, NORMALISED = 1.5, 0.5
"""Bounds on what a finite number of channels adds to a log factor a block, times the channels; measured at 16 to 64."""
FEW_VALUES = 12.0
"""With few values 1 / sigma^2 has heavy tails: so much more of it, over (N - 3)^2."""

FAILS = {
    1: ("A single value is its own mean: what is normalised is zero, so that branches add nothing and learn nothing.",),
    2: (
        "Of two values one is mapped to +1 and the other to -1 whatever they are: no gradient comes through, but for "
        "pairs closer than the root of eps, where it is enormous. No theory for the gradient.",
    ),
    3: ("Of three values 1 / variance has no mean: no theory for the gradient.",),
}
"""What becomes of a statistic of so few values."""


def _one(experiment: Normalisers, lab: Lab, draw: int) -> "Array":
    """Second moments of h and of its gradient, and what companions decide, of blocks 0..K of one net, (3, K + 1)."""
    import numpy as np
    import torch

    from resexp.nets.normalised import NormalisedNet
    from resexp.signal.weights import NormalSource

    channels, side, batch = experiment.channels, experiment.side, experiment.batch
    source = NormalSource(lab)
    net = NormalisedNet(experiment.normaliser, channels, experiment.depth, side)
    net = net.to(lab.torch_device, lab.torch_dtype)
    net.fill_(_weights(source, channels, experiment.depth, draw))

    def noise(examples: int, purpose: str) -> "Tensor":
        return source.draw((examples, channels, side, side), 1.0, purpose, draw)

    net.settle(noise(SETTLED, "settled"))
    x = noise(batch, "inputs")
    with torch.enable_grad():
        signals = net(x.requires_grad_())
        gradients = torch.autograd.grad((signals[-1] * noise(batch, "direction")).sum(), signals)
    others = torch.cat([x[:1], noise(batch, "companions")[1:]]).detach()
    with torch.no_grad():
        again = net(others)
        moved = [(h[0] - same[0]).square().mean() / 2 for h, same in zip(signals, again, strict=True)]
        own = [h[0].square().mean() for h in signals]
        found = [
            torch.stack([h.square().mean() for h in signals]),
            torch.stack([g.square().mean() for g in gradients]),
            torch.stack(moved) / torch.stack(own),
        ]
        return np.asarray(torch.stack(found).double().cpu().numpy())


def _weights(source: "NormalSource", channels: int, depth: int, draw: int) -> "list[Tensor]":
    """Weights of the stem and of each block: the same whatever the normaliser."""
    from resexp.nets.normalised import KERNEL, he_deviation

    shape = (channels, channels, KERNEL, KERNEL)
    return [source.draw(shape, he_deviation(channels), "weights", draw, layer) for layer in range(depth + 1)]


@lru_cache(maxsize=64)
def _law(experiment: Normalisers) -> "Growth | None":
    """Growth in the limit of infinite channels; None where there is no law."""
    from resexp.theory import normaliser_growth as theory

    of, values = experiment.averaged, experiment.values
    if of is None:
        return theory.unnormalised(experiment.depth, gain=GAIN)
    if values is None:
        return None
    pixels = experiment.side**2
    over = theory.ValueSet(of.channels, of.examples[0] * pixels)
    held = theory.ValueSet(1, SETTLED * pixels) if experiment.name_alone == "renorm" else None
    return theory.normalised(experiment.depth, over, gain=GAIN, held=held)
