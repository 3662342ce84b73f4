"""With batch normalisation the loss changes less, and its gradient less, along the gradient (figure 4 of the source).

Before each step of a training, with g the gradient of the mini-batch's loss at the weights theta, and s from --shortest
to --longest learning rates in --lengths equal steps (0.05 to 0.4 at the rate 0.1, as in the source),

    loss_range        largest - smallest loss at theta - s g
    gradient_range    largest - smallest |g(theta - s g) - g|, the gradient's predictiveness
    beta_smoothness   largest |g(theta - s g) - g| / (s |g|), the effective beta-smoothness

all of the same mini-batch by its own statistics. On a quadratic loss they are known exactly, and the tests hold the
code against that. Plain nets, which differ only in whether batch normalisation follows each convolution (a bias where
it does not), are trained alike: stochastic gradient descent without momentum or decay, at a constant rate.

Theory is a reference, what others saw on other data. In most seeds, of the largest values over the steps of training,

    loss_range_larger_without       without batch normalisation more than `least` times as large as with it
    gradient_range_larger_without   the same
    beta_smoothness_larger_without  larger

Measured with the defaults on the embedded digits, twice 8 seeds: all three hold in each seed, and the largest range of
the loss is 96 and 107 times as large without normalisation, that of the gradient 79 and 88 times, the effective
smoothness 11 and 13 times. The medians over the steps are 5.4 and 1.7 times as large only.

Largest values, since medians mislead: a net that does not learn stays where the loss is flat, and looks smooth. It does
not show here at the rate 0.01, where after six epochs neither kind has learned much and the largest values without
normalisation are the smaller ones (loss 0.6 times), nor in each net of 14 layers, some of which never start; notes
say how many had not learned. Where the loss leaves the range of the dtype on the line, its range is infinite and
counts as larger. All steps of a training are measured; rows are shown of each --every of them.

Source: Santurkar et al. 2018, section 3.2 and figure 4; Prince 2023, section 11.4.1.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.training.declared import TrainingExperiment, check_depth, claim, convolutions, diverged, shown

if TYPE_CHECKING:
    from torch import Tensor

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.training.history import History

    Found = tuple[History, Mapping[str, Tensor]]

NormName = Literal["batch", "none"]
NORMS: tuple[NormName, ...] = ("batch", "none")
MEASURES = ("loss_range", "gradient_range", "beta_smoothness")
LARGER = "_larger_without"
RATIOS = tuple(f"{name}_{measure}_ratio" for name in ("largest", "median") for measure in MEASURES)
NOT_LEARNED = 0.8
"""Share of a guess's error, the training error of the last epoch from which on a net is said not to have learned."""


def _ratio(name: str) -> Quantity:
    meaning = f"{name.removesuffix('_ratio').replace('_', ' ')} over the steps without normalisation over that with it"
    return Quantity(name, meaning, judged="nothing", hidden=True)


class Smoothness(TrainingExperiment):
    """Change of the loss and of its gradient along the gradient during training, with and without normalisation."""

    depth: int = param(8, "layers of the plain nets, 6 n + 2", ge=8, le=10_000)
    width: int = param(8, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    rate: float = param(0.1, "learning rate", gt=0)
    shortest: float = param(0.5, "shortest step along the gradient, in learning rates", gt=0)
    longest: float = param(4.0, "longest step along the gradient, in learning rates", gt=0)
    lengths: int = param(8, "step lengths from the shortest to the longest", ge=2, le=1000)
    every: int = param(3, "steps of the training from row to row; all are measured", ge=1)
    least: float = param(20.0, "by what factor ranges must be larger without normalisation", ge=1)
    seeds: int = param(8, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(6, "passes over the training examples", ge=1, le=100_000)

    axes = ("norm", "step")
    quantities = (
        shown("loss_range", "largest minus smallest loss along the gradient, nats", positive=True),
        shown("gradient_range", "largest minus smallest distance from the gradient along it", positive=True),
        shown("beta_smoothness", "largest change of the gradient over the distance", positive=True),
        shown("loss", "cross-entropy of the mini-batch, nats"),
        claim(f"loss_range{LARGER}", "largest range of the loss is that many times larger without normalisation"),
        claim(f"gradient_range{LARGER}", "largest range of the gradient's distance is that many times larger"),
        claim(f"beta_smoothness{LARGER}", "largest effective beta-smoothness is larger without normalisation"),
        *(_ratio(name) for name in RATIOS),
    )
    plot = Plot(x="step", log_y=True, series="norm")
    quick: ClassVar = {"width": 6, "limit": 256, "batch": 32, "epochs": 7, "rate": 0.2, "lengths": 4, "least": 8.0}
    smallest: ClassVar = {"width": 2, "seeds": 2, "limit": 64, "batch": 32, "epochs": 2, "lengths": 2}
    examples = (
        "smoothness",
        "smoothness --rate 0.01,0.1 --format table",
        "smoothness --depth 14 --epochs 12 --plot results/smoothness.png",
    )

    @model_validator(mode="after")
    def _is_a_line_of_such_nets(self) -> Self:
        check_depth("--depth", self.depth)
        if self.shortest >= self.longest:
            raise ValueError(f"--shortest {self.shortest}: must be less than --longest {self.longest}.")
        if self.precision == "mixed":
            raise ValueError("--precision mixed: gradients are held against each other, beside rounding; leave it out.")
        return self

    @property
    def steps_along(self) -> list[float]:
        """Factors of the gradient."""
        rise = (self.longest - self.shortest) / (self.lengths - 1)
        return [self.rate * (self.shortest + k * rise) for k in range(self.lengths)]

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the order holds in most seeds, as others saw; nothing is known of the numbers themselves."""
        return Prediction("reference", value=1.0) if quantity.endswith(LARGER) else None

    def notes(self) -> Iterable[str]:
        """What is compared."""
        yield "Largest values over the steps are compared: medians mislead, since a net that does not learn is smooth."

    def told(self, found: "Mapping[NormName, Found]") -> Iterator[str]:
        """Which nets diverged, left the range of the dtype on the line, or had not learned."""
        for norm, (history, line) in found.items():
            name = "Nets with batch normalisation" if norm == "batch" else "Nets without normalisation"
            yield from diverged(name, history.diverged)
            beyond = int(line["loss_range"].isinf().any(0).sum())
            if beyond:
                yield f"{name}: in {beyond} of {self.seeds} the loss left the range of the dtype on the line."
            stays = int((history.train_error[-1] > NOT_LEARNED * history.step_error[0]).sum())
            if stays:
                yield f"{name}: {stays} of {self.seeds} had hardly learned by the last epoch, and so look smooth."
            if norm == "none" and 2 * stays > self.seeds:
                yield "Does not show here: most nets without normalisation did not learn; try --rate 0.1."

    def train(self, lab: Lab) -> "dict[NormName, Found]":
        """Train with and without normalisation; goes on where a run that was killed stood."""
        from resexp.training.fit import fit
        from resexp.training.gradient_line import GradientLine
        from resexp.training.objective import classification

        data = self.load_data(lab).as_images()
        plan = self.plan(rate=self.rate, momentum=0.0, weight_decay=0.0, schedule="constant")
        steps = self.epochs * max(1, len(data.train) // self.batch)
        found: dict[NormName, Found] = {}
        for number, norm in enumerate(NORMS):
            nets = self.make_nets(lab, f"plain:{self.depth},width={self.width},norm={norm}", data)
            line = GradientLine(classification(), self.steps_along, steps, self.seeds)
            here, kept = lab.share(number, number + 1, of=len(NORMS)), line.checkpoint(self.checkpoint(lab).part(norm))
            found[norm] = fit(nets, data, plan, here, before_step=line, checkpoint=kept), line.found
        return found

    def rows(self, found: "Mapping[NormName, Found]") -> Iterator[Row]:
        """Rows of all steps, and of the orders."""
        import torch

        from resexp.core.statistics import Samples

        for quantity in (*MEASURES, "loss"):
            for norm, (history, line) in found.items():
                values_at = history.step_loss if quantity == "loss" else line[quantity]  # (steps, seeds)
                for step in range(0, len(values_at), self.every):
                    values = values_at[step]
                    if not values.isnan().all():
                        yield Row({"norm": norm, "step": step}, quantity, Samples.of(values.numpy()))
        last = len(found["none"][1]["loss_range"]) - 1
        whole = torch.tensor([step is None for step in found["batch"][0].diverged])
        for quantity in MEASURES:
            largest, medians = (
                [over(found[norm][1][quantity]) for norm in NORMS] for over in (largest_over_steps, median_over_steps)
            )
            factor = 1.0 if quantity == "beta_smoothness" else self.least
            holds = (largest[1] > factor * largest[0]) & whole
            place = {"step": last, "norm": "none"}
            yield Row(place, f"{quantity}{LARGER}", Samples.of(holds.double().numpy()))
            for name, (with_norm, without) in (("largest", largest), ("median", medians)):
                yield Row(place, f"{name}_{quantity}_ratio", Samples.of((without / with_norm).numpy()))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """How many times as large without normalisation: the largest values over the steps, and the medians."""
        from resexp.core.statistics import summarise

        for name in RATIOS:
            yield name, summarise(measured[name].rows[0].samples, positive=True), None, ""

    def estimate_memory(self, lab: Lab) -> int:
        """Bytes: of each weight its gradient, where it started and where it is, and what is found at each step."""
        from resexp.nets.zoo import parameters

        weights = parameters(f"plain:{self.depth},width={self.width}")
        return self.seeds * (8 * weights * 8 + 8 * len(MEASURES) * (self.training_steps or 0))

    def multiply_adds(self, pixels: int) -> float:
        """Of both kinds, on the line and off it."""
        return len(NORMS) * (1 + self.lengths) * convolutions(self.depth, self.width, pixels)


def largest_over_steps(values: "Tensor") -> "Tensor":
    """Largest of values (steps, seeds) until a net diverged, (seeds,)."""
    return values.nan_to_num(nan=0.0, posinf=float("inf")).amax(0)


def median_over_steps(values: "Tensor") -> "Tensor":
    """Median of the same."""
    return values.nanmedian(0).values
