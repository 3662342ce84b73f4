"""Eigenvalues of the Hessian of the loss, of plain and residual nets, before training and after it.

    H = d^2 loss / d theta^2,   over --sample of the training examples, all parameters, in float64

H is never formed: Lanczos from --vectors random vectors of 1 and -1 takes --steps products each (training/lanczos.py,
training/hessian.py), with the statistics of the examples in batch normalisation, which depend on the weights too, or
with --mode eval the running ones. The tests hold both against whole Hessians of tiny nets.

    eigenvalue          the largest at rank 1, the next ones after it; they converge first
    least_eigenvalue    the most negative one found, an upper bound
    trace               Hutchinson's estimate, unbiased; its interval is over nets
    share_near_zero     share of the eigenvalues within `near` times the largest of zero, smoothed by Lanczos
    negativity          -least / largest, what Li et al. draw for each point of a plane

Exact: with the statistics of the examples the loss does not depend on the size of the convolutions' weights w, as
far as batch normalisation's epsilon (set to 1e-20 here) is nothing beside variances. Its gradient is then orthogonal to
w, and curvature_along_scaling, w'Hw / w'w over the largest eigenvalue, is 0. That holds the products to rounding.

Orders between trained nets are told as shares of seeds and not judged, since none holds in all. Measured with the
defaults, twice 8 seeds: the plain net has the larger trace in 7 and 8 of 8 (medians 268 and 205 against 74 and 80) and
the larger first eigenvalue in 6 and 7 (33 and 25 against 10 and 18). That it has more of its eigenvalues near zero
(Orhan and Pitkow) and that it is the less convex (Li et al.) does not show here: 4 and 6 of 8 seeds. Those saw it in
fully connected nets on CIFAR-100, and in far deeper ones away from the minimum.

Source: Orhan and Pitkow 2018; Li et al. 2018, section 6; Ghorbani et al. 2019; Prince 2023, section 11.2 and notes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.errors import MissingError
from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.training.declared import TrainingExperiment, check_depth, convolutions, diverged, shown

if TYPE_CHECKING:
    from torch import Tensor

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.training.history import History

    Found = tuple[History, Mapping[str, Tensor]]
    """Curves of the nets of a kind, and by `when` their spectra (seeds, numbers)."""

KINDS = {"plain": "plain", "residual": "cifar-resnet"}
"""Families of the zoo."""
RANKS = 5
NUMBERS = ("least_eigenvalue", "trace", "share_near_zero", "negativity", "curvature_along_scaling")
"""What follows the leading eigenvalues."""
ORDERS = {
    "plain_has_larger_eigenvalue": 0,
    "plain_has_larger_trace": RANKS + NUMBERS.index("trace"),
    "plain_is_more_degenerate": RANKS + NUMBERS.index("share_near_zero"),
    "plain_is_less_convex": RANKS + NUMBERS.index("negativity"),
}
"""Orders between trained nets, and the column of what is compared."""
EPSILON = 1e-20
PRODUCT = 1.5e8
"""Multiply-adds of forward passes a second of one core, of products with the Hessian."""


def _order(name: str) -> Quantity:
    meaning = f"share of seeds in which the trained {name.replace('_', ' ')}"
    return Quantity(name, meaning, positive=False, judged="nothing", hidden=True)


class Hessian(TrainingExperiment):
    """Leading eigenvalues, trace and share near zero of the Hessian of plain and residual nets, by Lanczos."""

    depth: int = param(14, "layers of both nets, 6 n + 2", ge=8, le=10_000)
    width: int = param(4, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    rate: float = param(0.05, "highest learning rate", gt=0)
    weight_decay: float = param(1e-4, "factor of the weights in their L2 decay", ge=0)
    mode: Literal["train", "eval"] = param("train", "statistics of batch normalisation: the examples', or running ones")
    sample: int = param(64, "training examples whose loss is taken", ge=2)
    steps: int = param(40, "products with the Hessian a vector, steps of Lanczos", ge=RANKS, le=10_000)
    vectors: int = param(1, "random vectors a net", ge=1, le=10_000)
    near: float = param(1e-3, "distance from zero that is near, over the largest eigenvalue", gt=0, lt=1)
    seeds: int = param(8, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(12, "passes over the training examples", ge=1, le=100_000)

    axes = ("net", "when", "rank")
    quantities = (
        shown("eigenvalue", "eigenvalue of that rank, 1 the largest"),
        shown("least_eigenvalue", "the most negative eigenvalue found"),
        shown("trace", "sum of all eigenvalues"),
        shown("share_near_zero", "share of the eigenvalues near zero"),
        shown("negativity", "size of the most negative eigenvalue over the largest"),
        Quantity(
            "curvature_along_scaling",
            "curvature along the convolutions' weights over the largest eigenvalue",
            positive=False,
            judged="level",
            margin=1e-6,
            headline="curvature_along_scaling",
        ),
        *(_order(name) for name in ORDERS),
    )
    plot = Plot(x="rank", series="net")
    quick: ClassVar = {"depth": 8, "limit": 128, "batch": 32, "epochs": 3, "sample": 16, "steps": 12}
    smallest: ClassVar = {"depth": 8, "width": 2, "seeds": 2, "limit": 64, "epochs": 2, "sample": 8, "steps": 6}
    examples = (
        "hessian",
        "hessian --mode eval,train --format table",
        "hessian --steps 100 --vectors 10 --seeds 3",
    )

    @model_validator(mode="after")
    def _depth_is_of_the_family(self) -> Self:
        check_depth("--depth", self.depth)
        return self

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """No curvature along what the loss does not depend on."""
        if quantity == "curvature_along_scaling" and self.mode == "train":
            return Prediction("exact", value=0.0)
        return None

    def told(self, found: "Mapping[str, Found]") -> Iterator[str]:
        """Which nets diverged."""
        for kind, (history, _) in found.items():
            yield from diverged(kind, history.diverged)

    def train(self, lab: Lab) -> "dict[str, Found]":
        """Train both kinds, and look at their Hessians before and after; goes on where a run that was killed stood."""
        from dataclasses import replace

        from resexp.training.fit import fit
        from resexp.training.landscape import one_thread
        from resexp.training.scale_invariance import set_epsilon
        from resexp.training.spectra import Spectra

        if lab.device == "mps":
            raise MissingError("hessian computes in float64, which Apple GPUs do not have; try --device cpu.")
        exactly = replace(lab, dtype="float64")
        data = self.load_data(exactly).as_images()
        examples = data.limited(self.sample).train
        found: dict[str, Found] = {}
        for number, kind in enumerate(KINDS):
            nets = self.make_nets(exactly, f"{KINDS[kind]}:{self.depth},width={self.width}", data)
            for net in nets:
                set_epsilon(net, EPSILON)
            kept, looks = self.checkpoint(lab).part(kind), {}
            by_batch, part = self.mode == "train", kept.part("spectra")
            spectra = Spectra(examples, by_batch, self.steps, self.vectors, self.near, part)
            with one_thread():
                looks["start"] = spectra.of(nets, kind, "start", exactly.share(3 * number, 3 * number + 1, of=6))
            training = exactly.share(3 * number + 1, 3 * number + 2, of=6)
            plan = self.plan(rate=self.rate, weight_decay=self.weight_decay)
            history = fit(nets, data, plan, training, checkpoint=kept.part("training"))
            with one_thread():
                looks["end"] = spectra.of(nets, kind, "end", exactly.share(3 * number + 2, 3 * number + 3, of=6))
            found[kind] = history, looks
        return found

    def rows(self, found: "Mapping[str, Found]") -> Iterator[Row]:
        """Rows of all numbers, and of the order of trained nets."""
        import torch

        from resexp.core.statistics import Samples

        for kind, (_, looks) in found.items():
            for when, spectra in looks.items():
                for rank in range(RANKS):
                    place = {"net": kind, "when": when, "rank": rank + 1}
                    yield Row(place, "eigenvalue", Samples.of(spectra[:, rank].numpy()))
        for column, quantity in enumerate(NUMBERS, RANKS):
            for kind, (_, looks) in found.items():
                for when, spectra in looks.items():
                    yield Row({"net": kind, "when": when}, quantity, Samples.of(spectra[:, column].numpy()))
        for name, column in ORDERS.items():
            plain, residual = (looks["end"][:, column] for _, looks in found.values())
            holds = torch.where(plain.isfinite() & residual.isfinite(), (plain > residual).double(), torch.nan)
            yield Row({"net": "plain", "when": "end"}, name, Samples.of(holds.numpy()))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """The one exact number, and in what share of the seeds each order between trained nets holds."""
        from resexp.core.statistics import summarise

        yield from super().headlines(measured)
        for name in ORDERS:
            yield name, summarise(measured[name].rows[0].samples, positive=False), None, ""

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: the vectors of Lanczos, of all parameters each."""
        from resexp.nets.zoo import parameters

        return 8 * parameters(f"{KINDS['residual']}:{self.depth},width={self.width}") * (self.steps + 8 * self.seeds)

    def multiply_adds(self, pixels: int) -> float:
        """Of both kinds."""
        return len(KINDS) * convolutions(self.depth, self.width, pixels)

    def seconds_beside_training(self, examples: int, pixels: int) -> float:
        """Of the products with the Hessian."""
        products = 2 * self.vectors * self.steps * min(self.sample, examples)
        return self.seeds * products * self.multiply_adds(pixels) / PRODUCT
