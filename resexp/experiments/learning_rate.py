"""Batch normalisation makes larger learning rates stable: the largest one with it and without, against depth.

Nets of He et al. for small images, plain or residual, which differ only in whether batch normalisation follows each
convolution (a bias where it does not), are trained alike at each rate of a grid in equal ratios, by stochastic gradient
descent with momentum at a constant rate. A net starts from the same weights at each rate. With L the mean loss of the
last epoch and G = log(classes) that of a guess, a net

    learns       where L <= 0.6 G
    is unstable  where a loss was no finite number, where a mini-batch's loss rose above 1.5 times what it began with
                 (G at least), or where the net does not learn though it did at a lower rate
    is untrainable within the budget otherwise: it neither learned nor broke down

The third way to be unstable is needed since a net whose units all died stays at G, as does one that has hardly moved;
that it learned at a lower rate tells them apart, since more steps would not help it. A net's largest stable rate is
the one before its first unstable one, whether it learned there or not. Rates above the first at which every net of a
kind is unstable are not tried.

    largest_stable_rate  as said; the top of the grid where no rate was unstable (a note says so)
    best_rate            at which L is smallest;   best_loss   L there, nats
    rates_that_learn     how many rates of the grid the net learned at, within the budget

What is judged is whether the largest stable rate is at least `least` times as large with normalisation, in most seeds,
at the smallest depth. That it is so in all is a reference, what others saw on other data; it is held against plain nets
of 8 layers alone. Of the rates themselves nothing is known.

Measured on the embedded digits with the defaults, 8 seeds each time: at depth 8 it holds in every one of 40 nets, of
which the thresholds were chosen on 16; the rate is mostly 2.2 with normalisation, 0.01 to 0.2 without, 21 times as
large in the median and 10 times in the worst net, which is as fine as the grid. At depth 14 it does not show here:
plain nets without normalisation hardly learn at any rate within the budget (mean of the smallest losses 2.05 nats), so
that nothing tells whether those at a guess's loss broke down, and the ratio, 5 in the median, is a lower bound. They
count as untrainable there, not as unstable.

Source: Bjorck et al. 2018, sections 2 and 3; Santurkar et al. 2018, figure 1; Prince 2023, section 11.4.1.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.training.declared import TrainingExperiment, check_depth, check_rates, claim, learning_rates, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.training.history import History

NormName = Literal["batch", "none"]
NetName = Literal["plain", "residual"]
Kind = tuple[NormName, int]
NORMS: tuple[NormName, ...] = ("batch", "none")
FAMILIES: Mapping[NetName, str] = {"plain": "plain", "residual": "cifar-resnet"}
CLAIM = "norm_allows_larger_rate"
FIGURES = ("largest_stable_rate", "best_rate", "best_loss", "rates_that_learn")
LEARNED = 0.6
"""Share of a guess's loss up to which a net has learned."""
SPIKE = 1.5
"""Times the loss that a net began with, a guess's at least, above which a mini-batch's loss says that it broke down."""
JUDGED_DEPTH = 8
"""Depth up to which plain nets without normalisation learn here, so that it can be told at which rates they do not."""
FULL_RATE = 7e9
"""Multiply-adds of a forward pass a second at which nets train on one core, backward pass and all else included."""


@dataclass(frozen=True)
class Tried:
    """What became of the nets of one kind. rates: (rates,) as far as they were tried, rising; guess: its loss, nats.

    loss: (rates, seeds) mean of the last epoch, nats, nan where a net diverged; rise: (rates, seeds) largest loss of a
    mini-batch over the first one's or, where that is larger, a guess's; diverged: step at which, -1 if it did not.
    """

    rates: "Array"
    loss: "Array"
    rise: "Array"
    diverged: "NDArray[np.int64]"
    guess: float

    @classmethod
    def of(cls, grid: "Sequence[float]", histories: "Sequence[History]", guess: float) -> "Tried":
        """From the trainings at the first rates of the grid."""
        import numpy as np

        losses = [history.step_loss.numpy() for history in histories]  # (steps, seeds) each
        return cls(
            np.array(grid[: len(histories)]),
            np.stack([history.train_loss[-1].numpy() for history in histories]),
            np.stack([np.fmax.reduce(loss) / np.fmax(loss[0], guess) for loss in losses]),
            np.array([[-1 if step is None else step for step in history.diverged] for history in histories]),
            guess,
        )

    @property
    def learns(self) -> "NDArray[np.bool_]":
        """Whether a net learned at a rate, (rates, seeds)."""
        return (self.diverged < 0) & (self.loss <= LEARNED * self.guess)

    @property
    def unstable(self) -> "NDArray[np.bool_]":
        """Whether a net was unstable at a rate, (rates, seeds)."""
        import numpy as np

        learned_before = np.logical_or.accumulate(self.learns, 0)
        return (self.diverged >= 0) | (self.rise > SPIKE) | (learned_before & ~self.learns)

    @property
    def largest_stable(self) -> "Array":
        """Rate of each net before its first unstable one, (seeds,); nan where the lowest is unstable."""
        import numpy as np

        stable = np.logical_and.accumulate(~self.unstable, 0).sum(0)
        return np.where(stable > 0, self.rates[np.maximum(stable, 1) - 1], np.nan)

    @property
    def best(self) -> "tuple[Array, Array]":
        """Rate of the smallest loss and that loss, (seeds,) each; nan where a net diverged at every rate."""
        import numpy as np

        loss = np.where(np.isnan(self.loss), np.inf, self.loss)
        at, least = loss.argmin(0), loss.min(0)
        return np.where(np.isfinite(least), self.rates[at], np.nan), np.where(np.isfinite(least), least, np.nan)

    @property
    def figures(self) -> "dict[str, Array]":
        """What is shown of each net, (seeds,)."""
        learn = self.learns.sum(0).astype(self.loss.dtype)
        return dict(zip(FIGURES, (self.largest_stable, *self.best, learn), strict=True))


class LearningRate(TrainingExperiment):
    """Largest stable learning rate of networks with and without batch normalisation, against depth."""

    net: NetName = param("plain", "whether the nets have skips: plain or residual")
    depth: tuple[int, ...] = param((8, 14), "layers of the nets, 6 n + 2, of one run")
    width: int = param(8, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    lowest: float = param(0.01, "lowest learning rate", gt=0)
    highest: float = param(10.0, "highest learning rate", gt=0)
    rates: int = param(10, "learning rates from the lowest to the highest, in equal ratios", ge=2, le=1000)
    momentum: float = param(0.9, "share of the last move in the next", ge=0, lt=1)
    least: float = param(10.0, "by what factor the rate must be larger with normalisation", ge=1)
    limit: int | None = param(512, "examples of each part, training and test, at most", ge=2)
    seeds: int = param(8, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(6, "passes over the training examples", ge=1, le=100_000)
    batch: int = param(64, "examples a step", ge=2, le=1_000_000)

    axes = ("norm", "depth")
    quantities: ClassVar[tuple[Quantity, ...]] = (
        shown("largest_stable_rate", "learning rate before the first unstable one", positive=True),
        shown("best_rate", "learning rate of the smallest loss", positive=True),
        shown("best_loss", "mean cross-entropy of the last epoch at the best rate, nats"),
        shown("rates_that_learn", "learning rates of the grid at which the net learned within the budget"),
        claim(CLAIM, "largest stable rate is that many times larger with batch normalisation"),
    )
    plot = Plot(x="depth", log_y=True, series="norm")
    quick: ClassVar = {
        "depth": (8,),
        "width": 6,
        "limit": 256,
        "batch": 32,
        "epochs": 7,
        "highest": 3.162277,
        "rates": 6,
        "least": 3.0,
    }
    smallest: ClassVar = {"depth": (8,), "width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 2, "rates": 2}
    examples = (
        "learning-rate",
        "learning-rate --net residual --depth 8,20 --format table",
        "learning-rate --depth 8 --momentum 0 --lowest 0.1 --highest 100",
    )

    @model_validator(mode="after")
    def _is_a_grid_of_such_nets(self) -> Self:
        if not self.depth or list(self.depth) != sorted(set(self.depth)):
            raise ValueError(f"--depth {','.join(map(str, self.depth))}: give rising depths, each once.")
        for depth in self.depth:
            check_depth("--depth", depth)
            if not 8 <= depth <= 10_000:
                raise ValueError(f"--depth {depth}: must be from 8 to 10000.")
        check_rates(self.lowest, self.highest)
        return self

    @property
    def grid(self) -> list[float]:
        """The learning rates, rising."""
        return learning_rates(self.lowest, self.highest, self.rates)

    @property
    def kinds(self) -> list[Kind]:
        """Kinds of nets: normalisation and depth."""
        return [(norm, depth) for norm in NORMS for depth in self.depth]

    def theory(self, quantity: str, depth: int, **_: object) -> Prediction | None:
        """That the order holds in most seeds, as others saw; nothing is known of the rates themselves."""
        judged = quantity == CLAIM and self.net == "plain" and depth <= JUDGED_DEPTH
        return Prediction("reference", value=1.0) if judged else None

    def notes(self) -> Iterable[str]:
        """What stable means, and how finely it is asked."""
        step = (self.highest / self.lowest) ** (1 / (self.rates - 1))
        yield (
            f"Rates are {step:.3g} times apart, and so a largest stable rate may be up to that much larger. A net that "
            "has not learned within the budget is not unstable for that: rates_that_learn counts where it has."
        )

    def told(self, found: "Mapping[Kind, Tried]") -> Iterator[str]:
        """At which rates nets diverged and at which step, where the grid was too short, and what never learned."""
        for (norm, depth), tried in found.items():
            name = f"{'With batch' if norm == 'batch' else 'Without'} normalisation, depth {depth}"
            steps = [(rate, row[row >= 0]) for rate, row in zip(tried.rates, tried.diverged, strict=True)]
            told = [f"{len(at)} at rate {rate:.3g} (first at step {at.min()})" for rate, at in steps if len(at)]
            if told:
                yield f"{name}: of {self.seeds} nets diverged {', '.join(told)}."
            beyond = int((~tried.unstable.any(0)).sum())
            if beyond:
                yield f"{name}: {beyond} of {self.seeds} stable at all rates; largest stable rate at least --highest."
            if tried.unstable[0].any():
                yield f"{name}: {int(tried.unstable[0].sum())} unstable at the lowest rate; lower --lowest."
            never = int((~tried.learns.any(0)).sum())
            if never:
                yield (
                    f"{name}: {never} of {self.seeds} learned at no rate: untrainable within {self.epochs} epochs, "
                    "which is not to say unstable."
                )

    def train(self, lab: Lab) -> "dict[Kind, Tried]":
        """Train each kind of net at rising rates; goes on where a run that was killed stood."""
        from resexp.training.fit import fit

        data = self.load_data(lab).as_images()
        checkpoint, whole = self.checkpoint(lab), sum(self.depth) * len(NORMS) * self.rates
        found: dict[Kind, Tried] = {}
        done = 0
        for norm, depth in self.kinds:
            histories: list[History] = []
            for number, rate in enumerate(self.grid):
                nets = self.make_nets(lab, f"{FAMILIES[self.net]}:{depth},width={self.width},norm={norm}", data)
                plan = self.plan(rate=rate, momentum=self.momentum, weight_decay=0.0, schedule="constant")
                at = done + depth * number
                here, kept = lab.share(at, at + depth, of=whole), checkpoint.part(f"{norm}-{depth}-{number}")
                histories.append(fit(nets, data, plan, here, checkpoint=kept))
                found[norm, depth] = Tried.of(self.grid, histories, math.log(data.classes))
                if found[norm, depth].unstable[-1].all():
                    break
            done += depth * self.rates
        return found

    def rows(self, found: "Mapping[Kind, Tried]") -> Iterator[Row]:
        """Rows of the rates and losses of each kind of net, and of the order."""
        import numpy as np

        from resexp.core.statistics import Samples

        values = {kind: tried.figures for kind, tried in found.items()}
        for quantity in FIGURES:
            for (norm, depth), figures in values.items():
                yield Row({"norm": norm, "depth": depth}, quantity, Samples.of(figures[quantity]))
        holds = self._ratio(found, self.depth[0]) >= self.least * (1 - 1e-5)  # rates have six digits; nan does not hold
        yield Row({"norm": "batch", "depth": self.depth[0]}, CLAIM, Samples.of(holds.astype(np.float64)))

    def _ratio(self, found: "Mapping[Kind, Tried]", depth: int) -> "Array":
        """Largest stable rate with normalisation over that without, (seeds,)."""
        return found["batch", depth].largest_stable / found["none", depth].largest_stable

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """How many times as large with normalisation, at each depth."""
        from resexp.core.measured import level_samples
        from resexp.core.statistics import Samples, summarise

        rates = {(row.axes["norm"], row.axes["depth"]): row for row in measured["largest_stable_rate"].rows}
        for depth in self.depth:
            larger, smaller = (level_samples(rates[norm, depth]) for norm in NORMS)
            summary = summarise(Samples.of(larger / smaller), positive=True)
            yield f"largest_stable_rate_ratio_depth_{depth}", summary, None, ""

    def estimate_seconds(self, lab: Lab) -> float | None:
        """From the multiply-adds of all nets at all rates, at the speed of one core of a common machine."""
        if self.sizes is None or lab.device != "cpu":
            return None
        examples, pixels = self.sizes
        layers = len(NORMS) * self.rates * sum(self.depth)
        return self.seeds * self.epochs * examples * layers * 9 * self.width**2 * pixels / FULL_RATE
