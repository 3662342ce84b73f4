"""Weight decay before batch normalisation: weights shrink, the function stays, the learning rate grows (problem 11.9).

L2 regularisation of the convolutions alone, each followed by batch normalisation, which takes the scale of its weights
out again: f(c w) = f(w), so the gradient is orthogonal to the weights and grows as they shrink, g(c w) = g(w) / c.
With a = 1 - rate * decay,

    decay         w <- a w - rate g                                  weights shrink at most as a^t
    exponential   w <- w - rate a^(-2t-1) g    at step t = 0, 1, ...   no decay, an exponential learning rate
    constant      w <- w - rate g                                    neither: |w| can only grow

Exact, without momentum: a^-t times the weights of `decay` are those of `exponential` at every step, and both nets are
the same function, whatever else of them is trained (gamma, beta, the classifier). So decay regularises nothing here: it
is a learning rate that grows by a^-2 a step. effective_rate is rate / |w|^2, the rate of the direction w / |w|, the
geometric mean over the layers.

    weight_difference          |a^-t w - w of exponential| / |w of exponential|
    output_difference          largest difference of their outputs, over the root mean square of the outputs
    scaled_output_difference   the same of one net and itself with all convolutions divided by 1,000

Theory is 0, exact but for rounding, which training amplifies in time, and for the epsilon of batch normalisation, which
is no longer small beside the variance of small weights: with torch's own 1e-5 differences reach 1 % in eight epochs,
and nothing is judged. All is computed in float64, whatever --dtype says. a^t, beside the norm of the decaying weights,
is what is left of them where gradients vanish: a lower bound, by Pythagoras.

Outputs are by the statistics of the batch. In evaluation they need not be the same: running statistics are averages
over earlier, larger weights, and test_error_decay suffers from it where test_error_decay_batch_statistics does not.
Judged beside the differences: in most seeds the effective rate ends higher with decay than without (a reference). The
decay by default is large, 0.1, for it to show in 88 steps: what counts is rate * decay * steps.

Source: Prince 2023, problem 11.9; van Laarhoven 2017; Li and Arora 2020, theorem 2.7 and its case without momentum.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.errors import MissingError, UsageError
from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.training.declared import TrainingExperiment, check_depth, claim, diverged, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.training.history import History

TrainingName = Literal["decay", "exponential", "constant"]
TRAININGS: tuple[TrainingName, ...] = ("decay", "exponential", "constant")
HIGHER = "effective_rate_ends_higher_with_decay"
DIFFERENCES = ("weight_difference", "output_difference", "scaled_output_difference")
NEGLIGIBLE = 1e-12
"""An epsilon up to which the equivalence is exact to rounding."""
MOST_GROWTH = 1e100
"""Of the exponential learning rate: float64 must hold squares of what it moves."""


def _zero(name: str, meaning: str) -> Quantity:
    return Quantity(name, meaning, positive=False, judged="level", margin=1e-6, headline=name)


class WeightDecay(TrainingExperiment):
    """Training with L2 decay before batch normalisation, and with the exponential learning rate that equals it."""

    depth: int = param(8, "layers of the residual net, 6 n + 2", ge=8, le=10_000)
    width: int = param(8, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    rate: float = param(0.1, "learning rate", gt=0)
    weight_decay: float = param(0.1, "factor of the convolutions' weights in their L2 decay", gt=0)
    seeds: int = param(8, "nets, each with its own initialisation and order of the data", ge=2, le=10_000)
    epsilon: float = param(1e-20, "what batch normalisation adds to the variance", gt=0, le=1.0)

    axes = ("step",)
    quantities = (
        _zero("weight_difference", "weights of decay over a^t against those of the exponential rate, relative"),
        _zero("output_difference", "outputs of the two nets, largest difference relative to their size"),
        _zero("scaled_output_difference", "outputs before and after a thousandth of the weights, the same"),
        shown("weight_norm_decay", "norm of a convolution's weights over that at the start, with decay", positive=True),
        shown("weight_norm_exponential", "the same with the exponential rate", positive=True),
        shown("weight_norm_constant", "the same with neither", positive=True),
        shown("effective_rate_decay", "rate over squared norm of a convolution's weights, with decay", positive=True),
        shown("effective_rate_constant", "the same without decay", positive=True),
        shown("test_error_decay", "share of wrong test examples, with decay"),
        shown("test_error_decay_batch_statistics", "the same by statistics of the test batch"),
        shown("test_error_constant", "share of wrong test examples without decay"),
        claim(HIGHER, "the effective rate ends higher with decay than without"),
    )
    plot = Plot(x="step", log_y=True)
    quick: ClassVar = {"seeds": 8, "limit": 128, "batch": 32, "epochs": 4, "width": 4}
    smallest: ClassVar = {"width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 1}
    examples = (
        "weight-decay",
        "weight-decay --seeds 16 --weight-decay 0.02",
        "weight-decay --epsilon 1e-20,1e-5 --format table",
    )

    @model_validator(mode="after")
    def _is_exact_and_shrinks(self) -> Self:
        if self.precision == "mixed":
            raise ValueError("--precision mixed: the equivalence is held against rounding in float64; leave it out.")
        if self.rate * self.weight_decay >= 1:
            raise ValueError(
                f"--rate {self.rate} --weight-decay {self.weight_decay}: their product must be less than 1, "
                "or a step takes away more than the weights."
            )
        check_depth("--depth", self.depth)
        return self

    @property
    def shrinkage(self) -> float:
        """What a step multiplies weights by, a = 1 - rate * decay."""
        return 1.0 - self.rate * self.weight_decay

    def theory(self, quantity: str, step: int) -> Prediction | None:
        """Zero for what is the same, a^t for weights without gradients, and that the order holds in most seeds."""
        if quantity in DIFFERENCES:
            return Prediction("exact", value=0.0) if self.epsilon <= NEGLIGIBLE else None
        if quantity == "weight_norm_decay":
            return Prediction("limit", value=self.shrinkage**step)
        return Prediction("reference", value=1.0) if quantity == HIGHER else None

    def told(self, found: "Mapping[TrainingName, History]") -> Iterator[str]:
        """Which nets diverged."""
        for name, history in found.items():
            yield from diverged(name, history.diverged)

    def notes(self) -> "Iterable[str]":
        """What epsilon does to the equivalence."""
        if self.epsilon > NEGLIGIBLE:
            yield (
                f"Not exact at --epsilon {self.epsilon:g}: it is not small beside the variance that shrunken weights "
                "give, so differences are shown and not judged."
            )

    def train(self, lab: Lab) -> "dict[TrainingName, History]":
        """The three trainings, in float64; they go on where a run that was killed stood."""
        from dataclasses import replace

        from resexp.training.fit import fit, look_at_nothing
        from resexp.training.plan import convolutions_alone
        from resexp.training.scale_invariance import exponential, set_epsilon, watch

        if lab.device == "mps":
            raise MissingError("weight-decay computes in float64, which Apple GPUs do not have; try --device cpu.")
        exactly = replace(lab, dtype="float64")
        data = self.load_data(exactly).as_images()
        self._check_growth(len(data.train))
        checkpoint, found = self.checkpoint(lab), dict[TrainingName, "History"]()
        for number, name in enumerate(TRAININGS):
            nets = self.make_nets(exactly, f"cifar-resnet:{self.depth},width={self.width}", data)
            for net in nets:
                set_epsilon(net, self.epsilon)
            found[name] = fit(
                nets,
                data,
                self.plan(
                    rate=self.rate,
                    momentum=0.0,
                    schedule="constant",
                    weight_decay=self.weight_decay if name == "decay" else 0.0,
                    decays=convolutions_alone,
                ),
                exactly.share(number, number + 1, of=len(TRAININGS)),
                watch=watch(data, keep_weights=name != "constant"),
                before_step=exponential(self.shrinkage) if name == "exponential" else look_at_nothing,
                checkpoint=checkpoint.part(name),
            )
        return found

    def _check_growth(self, examples: int) -> None:
        """Raise UsageError where the exponential rate would leave float64."""
        import math

        steps = self.epochs * max(1, examples // self.batch)
        growth = -2 * steps * math.log(self.shrinkage)
        if growth > math.log(MOST_GROWTH):
            raise UsageError(
                f"weight-decay: in {steps:,} steps the equivalent learning rate grows e^{growth:.0f} times, beyond "
                "float64; use fewer --epochs or less --weight-decay."
            )

    def rows(self, histories: "Mapping[TrainingName, History]") -> Iterator[Row]:
        """Rows of what was watched, at the start and after each epoch."""
        import torch

        from resexp.core.statistics import Samples
        from resexp.training.scale_invariance import difference, geometric_mean

        decay, exponential_, constant = (histories[name] for name in TRAININGS)
        steps = [epoch * len(decay.step_loss) // self.epochs for epoch in range(self.epochs + 1)]
        found: dict[str, list[Tensor]] = {quantity.name: [] for quantity in self.quantities}
        for epoch, step in enumerate(steps):
            if any(epoch >= len(history.watched["norms"]) for history in histories.values()):
                break  # all nets of a training diverged
            grown, theirs = (history.watched["weights"][epoch] for history in (decay, exponential_))
            outputs, those = (history.watched["outputs"][epoch] for history in (decay, exponential_))
            found["weight_difference"].append((grown * self.shrinkage**-step - theirs).norm(dim=1) / theirs.norm(dim=1))
            found["output_difference"].append(difference(outputs, those))
            found["scaled_output_difference"].append(decay.watched["scaled_difference"][epoch])
            for name, history in histories.items():
                norms, start = history.watched["norms"][epoch], history.watched["norms"][0]  # (nets, layers)
                found[f"weight_norm_{name}"].append(geometric_mean(norms / start))
                if name != "exponential":
                    found[f"effective_rate_{name}"].append(self.rate / geometric_mean(norms).square())
            found["test_error_decay_batch_statistics"].append(decay.watched["error_by_batch"][epoch])
            if epoch:
                found["test_error_decay"].append(decay.test_error[epoch - 1])
                found["test_error_constant"].append(constant.test_error[epoch - 1])
        ends = [found[f"effective_rate_{name}"][-1] for name in ("decay", "constant")]
        yield Row({"step": steps[-1]}, HIGHER, Samples.of((ends[0] > ends[1]).double().numpy()))
        del found[HIGHER]
        for quantity, values in found.items():
            first = len(steps) - len(values) if quantity in ("test_error_decay", "test_error_constant") else 0
            for step, value in zip(steps[first:], values, strict=False):
                yield Row({"step": step}, quantity, Samples.of(value.to(torch.float64).numpy()))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterator[Figure]":
        """By how much the effective rate grew, against what it would grow by without gradients."""
        from resexp.core.statistics import Samples, summarise

        steps = int(measured["weight_norm_decay"].rows[-1].axes["step"])
        for name in ("decay", "constant"):
            rates = [row.samples.mantissa for row in measured[f"effective_rate_{name}"].rows]
            most = self.shrinkage ** (-2 * steps) if name == "decay" else None
            growth = summarise(Samples.of(rates[-1] / rates[0]), positive=False)
            yield f"effective_rate_growth_{name}", growth, most, "limit"

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: the weights of two trainings at each epoch, and what training itself takes."""
        from resexp.nets.zoo import parameters

        weights = parameters(f"cifar-resnet:{self.depth},width={self.width}")
        return 8 * self.seeds * weights * (2 * (self.epochs + 1) + 8)
