"""Deeper plain networks are harder to train; deeper residual networks are not (figure 11.2).

Plain and residual nets for small images, two depths each, are trained alike: stochastic gradient descent with momentum
0.9, weight decay 1e-4, mini-batches of 128, a learning rate of 0.1 that rises from zero in the first epoch and is
divided by ten after 60 % and 85 % of the epochs. Without that rise one residual 56-layer net in eight or so is still
far from trained after 8 epochs of few steps (He et al. needed it at 110 layers). Batch normalisation follows every
convolution; shortcuts are A, so that a plain net has as many parameters as the residual one. The plain 56-layer net
ends with the higher *training* error: what fails is optimisation, and it is not over-fitting.

train_loss and train_error are means over the mini-batches of an epoch, each before its step, with the statistics of the
mini-batch; test_error is that of the whole test part after the epoch, with the running statistics. Errors are shares.

Theory is a reference, orderings seen by others on other data. In most seeds:

    deeper_plain_trains_worse   the deeper plain net ends with the higher training error
    deeper_plain_tests_worse    and with the higher test error
    depth_costs_plain_more      depth adds more to the training error of the plain net than to that of the residual one
    deeper_residual_no_worse    the deeper residual net's test error is at most `tolerance` above the shallower one's

An ordering that were tossed like a coin would hold in all of 8 seeds once in 256; with fewer seeds chance is not ruled
out, and the verdict is `underpowered`. The two that are about residual nets are not judged after less than 60 steps:
deeper ones are slower at first.

Measured on the embedded digits with the defaults, 8 seeds, three times: depth adds 0.68 to 0.70 to the training error
of the plain net and at most 0.01 to that of the residual one. A net that diverges counts as wrong on everything.

Source: He et al. 2016, figures 1 and 6; Prince 2023, figure 11.2.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Row
from resexp.training.declared import TrainingExperiment, check_depth, claim, convolutions, diverged, shown

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.training.history import History

KINDS = {"plain": "plain", "residual": "cifar-resnet"}
"""Families of the zoo."""
CURVES = ("train_loss", "train_error", "test_error")
OF_RESIDUAL = ("depth_costs_plain_more", "deeper_residual_no_worse")
STEPS_TO_SETTLE = 60
"""After so many steps a residual net of 56 layers has caught up with one of 20 (on digits: after 50)."""


class Degradation(TrainingExperiment):
    """Training and test error of plain and residual networks of two depths, epoch by epoch (figure 11.2)."""

    shallow: int = param(20, "layers of the shallower nets, 6 n + 2", ge=8, le=10_000)
    deep: int = param(56, "layers of the deeper nets, 6 n + 2", ge=8, le=10_000)
    width: int = param(8, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    rate: float = param(0.1, "highest learning rate", gt=0)
    warm_up: float = param(1.0, "epochs in which the learning rate rises from zero", ge=0)
    weight_decay: float = param(1e-4, "factor of the weights in their L2 decay", ge=0)
    augment: bool = param(False, "whether images are shifted, and mirrored where the data allow it")
    tolerance: float = param(0.03, "test error by which the deeper residual net may be above the shallower one", ge=0)

    axes = ("net", "epoch")
    quantities = (
        shown("train_loss", "mean cross-entropy of an epoch's mini-batches, nats"),
        shown("train_error", "share of wrong training examples of an epoch"),
        shown("test_error", "share of wrong test examples after the epoch"),
        claim("deeper_plain_trains_worse", "deeper plain net ends with the higher training error"),
        claim("deeper_plain_tests_worse", "deeper plain net ends with the higher test error"),
        claim(
            "depth_costs_plain_more", "depth adds more to the training error of the plain net than of the residual one"
        ),
        claim("deeper_residual_no_worse", "deeper residual net ends with no higher test error, within the tolerance"),
    )
    plot = Plot(x="epoch", series="net")
    quick: ClassVar = {"shallow": 8, "deep": 32, "width": 4, "seeds": 8, "limit": 256, "batch": 32, "epochs": 3}
    smallest: ClassVar = {"shallow": 8, "deep": 14, "width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 2}
    examples = (
        "degradation",
        "degradation --seeds 8",
        "degradation --seeds 3 --epochs 8",
        "degradation --data mnist1d --limit 1000",
    )

    @model_validator(mode="after")
    def _depths_are_two_and_of_the_family(self) -> Self:
        check_depth("--shallow", self.shallow)
        check_depth("--deep", self.deep)
        if self.shallow >= self.deep:
            raise ValueError(f"--deep {self.deep}: must be more than --shallow {self.shallow}.")
        return self

    @property
    def depths(self) -> tuple[int, int]:
        """The shallower and the deeper one."""
        return self.shallow, self.deep

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the order holds in most seeds, as was seen by others; nothing is known of the errors themselves."""
        judged = {q.name for q in self.quantities if q.judged != "nothing"}
        if quantity not in judged:
            return None
        if quantity in OF_RESIDUAL and self.training_steps is not None and self.training_steps < STEPS_TO_SETTLE:
            return None
        return Prediction("reference", value=1.0)

    def told(self, found: "Mapping[str, History]") -> Iterator[str]:
        """Which nets diverged."""
        for net, history in found.items():
            yield from diverged(net, history.diverged, "counted as wrong on everything")

    def train(self, lab: Lab) -> "dict[str, History]":
        """Curves of the nets of each kind and depth, by name; goes on where a run that was killed stood."""
        from resexp.training.fit import fit

        data = self.load_data(lab).as_images()
        more = {name: getattr(self, name) for name in ("rate", "warm_up", "weight_decay", "augment")}
        plan = self.plan(**more)
        checkpoint = self.checkpoint(lab)
        done, whole, histories = 0, len(KINDS) * sum(self.depths), {}
        for depth in self.depths:
            for kind in KINDS:
                nets = self.make_nets(lab, f"{KINDS[kind]}:{depth},width={self.width}", data)
                here, part = lab.share(done, done + depth, of=whole), checkpoint.part(f"{kind}-{depth}")
                histories[f"{kind}:{depth}"] = fit(nets, data, plan, here, checkpoint=part)
                done += depth
        return {f"{kind}:{depth}": histories[f"{kind}:{depth}"] for kind in KINDS for depth in self.depths}

    def rows(self, found: "Mapping[str, History]") -> Iterator[Row]:
        """Rows of all curves, and of the orderings."""
        from resexp.core.statistics import Samples

        for quantity in CURVES:
            for net, history in found.items():
                for epoch, values in enumerate(getattr(history, quantity), 1):
                    yield Row({"net": net, "epoch": epoch}, quantity, Samples.of(values.numpy()))
        for quantity, holds in self._orderings(found).items():
            net = f"{'plain' if 'plain' in quantity else 'residual'}:{self.deep}"
            yield Row({"epoch": self.epochs, "net": net}, quantity, Samples.of(holds))

    def _orderings(self, histories: "Mapping[str, History]") -> "dict[str, Array]":
        """1 in the seeds whose nets are in order, else 0, (seeds,)."""
        import numpy as np

        def last(kind: str, depth: int, curve: str) -> "Array":
            ends: Array = getattr(histories[f"{kind}:{depth}"], curve)[-1].numpy()
            return np.nan_to_num(ends, nan=1.0)

        def cost_of_depth(kind: str, curve: str) -> "Array":
            return last(kind, self.deep, curve) - last(kind, self.shallow, curve)

        holds = {
            "deeper_plain_trains_worse": cost_of_depth("plain", "train_error") > 0,
            "deeper_plain_tests_worse": cost_of_depth("plain", "test_error") > 0,
            "depth_costs_plain_more": cost_of_depth("plain", "train_error") > cost_of_depth("residual", "train_error"),
            "deeper_residual_no_worse": cost_of_depth("residual", "test_error") <= self.tolerance,
        }
        return {name: values.astype(np.float64) for name, values in holds.items()}

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """By how much the deeper net's error ends above the shallower one's, seed by seed."""
        from resexp.core.measured import level_samples
        from resexp.core.statistics import Samples, summarise

        for curve in ("train_error", "test_error"):
            ends = {str(r.axes["net"]): r for r in measured[curve].rows if r.axes["epoch"] == self.epochs}
            for kind in KINDS:
                deep, shallow = (level_samples(ends[f"{kind}:{depth}"]) for depth in (self.deep, self.shallow))
                yield (
                    f"{curve}_deeper_minus_shallower_{kind}",
                    summarise(Samples.of(deep - shallow), positive=False),
                    None,
                    "",
                )

    def multiply_adds(self, pixels: int) -> float:
        """Of both kinds at both depths."""
        return len(KINDS) * convolutions(sum(self.depths), self.width, pixels)
