"""Wide and shallow or narrow and deep: residual nets of one number of parameters and of several depths.

Nets of 6 n + 2 layers in three stages of w, 2w and 4w channels have about 378 n w^2 parameters. For each depth the
width is chosen that comes closest to a budget, and no net may be further from it than --spread; what each has is in the
rows, as are

    multiply_adds   of a forward pass of one image, counted; a training step takes about three times as many
    activations     bytes that training holds of one image between its forward and its backward pass, counted
    width           channels of the first stage

depth itself is the number of layers that can only be computed one after another. Seconds are no part of the rows, for
they are another machine's: on one core the defaults took 8 s for the 8-layer nets, which have the most multiply-adds,
and 15 s for the 56-layer ones, which have the fewest.

All are trained alike: stochastic gradient descent with momentum 0.9, weight decay 1e-4, a rate of 0.1 that rises from
zero in the first epoch and is divided by ten after 60 % and 85 % of the epochs, batch normalisation after every
convolution, shortcuts A. train_loss is the mean over the mini-batches of the last epoch, each before its step;
test_loss and test_error are those of the test part at the end, by the running statistics. Losses are cross-entropies in
nats, errors are shares. A draw is a seed.

Theory is a reference: Zagoruyko and Komodakis found on CIFAR that wide nets of few layers are as good as thin ones of
many, or better, at as many parameters. Shallowest against deepest:

    wide_trains_further   the shallowest ends with the lower training loss
    wide_tests_no_worse   its test error is at most --tolerance above the deepest one's
    wide_is_more_likely   it ends with the lower test loss

What is judged is that it is so in most seeds; with fewer than 8 chance is not ruled out, and the verdict is
`underpowered`. A net that diverges counts as the worse one.

Measured on the digits with the defaults, 8 seeds, three times: all three held in all 24 seeds. From 8 to 56 layers the
training loss rises from 0.004 to 0.036, the test loss from 0.04 to 0.10 and the test error from 1.4 % to 2.8 %, in this
order at 8, 14, 38 and 56 layers; activations double, multiply-adds fall to 0.86. What shows is that deep narrow nets
are trained more slowly: after 32 epochs in place of 8 the training losses are 0.0005 apart, the shallowest has the
lower one in 6 seeds of 8 and the lower test loss in 6. Only `wide_tests_no_worse` still holds in all. A lower test
error of the shallowest in every seed does not show here: in 23 of 24 seeds at 8 epochs, in 4 of 8 at 32.

Source: Zagoruyko and Komodakis 2016, section 3; Prince 2023, section 11.6 and notes.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from resexp.core.errors import UsageError
from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Row
from resexp.training.declared import TrainingExperiment, check_depth, claim, convolutions, diverged, shown

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.training.data.dataset import Data
    from resexp.training.history import History

CURVES = ("train_loss", "test_error", "test_loss")
CLAIMS = {
    "wide_trains_further": "the shallowest net ends with the lower training loss than the deepest",
    "wide_tests_no_worse": "the shallowest net's test error is at most the tolerance above the deepest one's",
    "wide_is_more_likely": "the shallowest net ends with the lower test loss than the deepest",
}


@dataclass(frozen=True)
class Size:
    """What a net of some depth has and takes; of one image."""

    width: int
    parameters: int
    multiply_adds: int
    activations: int


COSTS = tuple(Size.__dataclass_fields__)


class WidthOrDepth(TrainingExperiment):
    """Errors and costs of wide shallow and of narrow deep residual nets with as many parameters."""

    depths: tuple[int, ...] = param((8, 14, 38, 56), "layers of the nets, two or more, each 6 n + 2")
    budget: int = param(55_500, "parameters of each net", ge=100, le=1_000_000_000)
    spread: float = param(0.05, "share of the budget by which a net may miss it", gt=0, lt=1)
    rate: float = param(0.1, "highest learning rate, reached after an epoch", gt=0)
    weight_decay: float = param(1e-4, "factor of the weights in their L2 decay", ge=0)
    tolerance: float = param(0.01, "test error by which the shallowest net may be above the deepest one", ge=0)
    seeds: int = param(8, "nets of each depth, each with its own initialisation and order of the data", ge=2, le=10_000)
    batch: int = param(64, "examples a step", ge=2, le=1_000_000)

    axes = ("depth",)
    quantities = (
        shown("train_loss", "mean cross-entropy of the last epoch's mini-batches, nats"),
        shown("test_error", "share of wrong test examples at the end"),
        shown("test_loss", "cross-entropy on the test examples at the end, nats"),
        shown("width", "channels of the first stage; later ones have 2 and 4 times as many", positive=True),
        shown("parameters", "parameters of the net", positive=True),
        shown("multiply_adds", "multiply-adds of a forward pass of one image", positive=True),
        shown("activations", "bytes that training holds of one image", positive=True),
        *(claim(name, meaning) for name, meaning in CLAIMS.items()),
    )
    plot = Plot(x="depth")
    quick: ClassVar = {"depths": (8, 32), "budget": 7_600, "limit": 512, "batch": 32, "epochs": 4}
    smallest: ClassVar = {"depths": (8, 14), "budget": 2_860, "seeds": 2, "limit": 64, "batch": 16, "epochs": 1}
    examples = (
        "width-or-depth",
        "width-or-depth --depths 8,26,32 --budget 116700 --seeds 3",
        "width-or-depth --data mnist1d --limit 1000 --epochs 20",
    )

    @model_validator(mode="after")
    def _depths_are_of_the_family(self) -> Self:
        for depth in self.depths:
            check_depth("--depths", depth)
            if not 8 <= depth <= 10_000:
                raise ValueError(f"--depths {depth}: must be from 8 to 10,000.")
        if len(self.depths) < 2 or len(set(self.depths)) < len(self.depths):
            raise ValueError(f"--depths {','.join(map(str, self.depths))}: two depths or more, each once.")
        return self

    @property
    def ends(self) -> tuple[int, int]:
        """The shallowest and the deepest."""
        return min(self.depths), max(self.depths)

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That the order holds in most seeds, as others saw; nothing is known of the errors themselves."""
        return Prediction("reference", value=1.0) if quantity in CLAIMS else None

    def told(self, found: "Mapping[int, tuple[Size, History]]") -> Iterator[str]:
        """Which nets diverged, and whether a lower test error shows."""
        for depth, (_, history) in found.items():
            yield from diverged(f"depth {depth}", history.diverged, "counted as the worse one")
        wide, deep = (_end(found[depth][1], "test_error") for depth in self.ends)
        lower = int((wide < deep).sum())
        if lower < self.seeds:
            yield (
                "Does not show here: a lower test error of the shallowest nets in every seed; it is lower in "
                f"{lower} of {self.seeds}."
            )

    def train(self, lab: Lab) -> "dict[int, tuple[Size, History]]":
        """Sizes and curves of the nets of each depth; goes on where a run that was killed stood."""
        from resexp.training.fit import fit

        data = self.load_data(lab).as_images()
        sizes = self.nets(data)
        plan = self.plan(rate=self.rate, weight_decay=self.weight_decay, warm_up=1.0)
        checkpoint, found = self.checkpoint(lab), {}
        for number, (depth, size) in enumerate(sizes.items()):
            nets = self.make_nets(lab, _name(depth, size.width), data)
            here = lab.share(number, number + 1, of=len(sizes))
            found[depth] = size, fit(nets, data, plan, here, checkpoint=checkpoint.part(f"depth-{depth}"))
        return found

    def nets(self, data: "Data") -> dict[int, Size]:
        """Sizes by depth, from the shallowest on. Raises UsageError where one misses the budget by too much."""
        from resexp.nets.accounting import cost, on_meta
        from resexp.nets.zoo import factory, parameters
        from resexp.training.equal_size import closest_width

        more = f"channels={data.shape[0]},classes={data.classes}"
        found = {}
        for depth in sorted(self.depths):

            def count(width: int, depth: int = depth) -> int:
                return parameters(f"{_name(depth, width)},{more}")

            width = closest_width(count, self.budget)
            taken = cost(on_meta(factory(f"{_name(depth, width)},{more}")), data.shape, 1)
            found[depth] = Size(width, count(width), taken.operations // 2, taken.activations)
        missed = {depth: size.parameters / self.budget - 1 for depth, size in found.items()}
        if max(map(abs, missed.values())) > self.spread:
            said = ", ".join(f"{missed[depth]:+.1%} at depth {depth}" for depth in found)
            raise UsageError(
                f"--budget {self.budget}: the nets closest to it miss it by {said}, and --spread allows "
                f"{self.spread:.1%}. Take another budget (55500 suits depths 8,14,38,56; 116700 suits 8,14,26,32), "
                "other --depths, or more --spread."
            )
        return found

    def rows(self, found: "Mapping[int, tuple[Size, History]]") -> Iterator[Row]:
        """Rows of the ends of all curves, of what nets take, and of the orders."""
        import numpy as np

        from resexp.core.statistics import Samples

        for quantity in CURVES:
            for depth, (_, history) in found.items():
                yield Row({"depth": depth}, quantity, Samples.of(getattr(history, quantity)[-1].numpy()))
        for quantity in COSTS:
            for depth, (size, _) in found.items():
                yield Row({"depth": depth}, quantity, Samples.of(np.full(self.seeds, float(getattr(size, quantity)))))
        wide, deep = ({curve: _end(found[depth][1], curve) for curve in CURVES} for depth in self.ends)
        holds = {
            "wide_trains_further": wide["train_loss"] < deep["train_loss"],
            "wide_tests_no_worse": np.isfinite(wide["test_error"])
            & (wide["test_error"] <= deep["test_error"] + self.tolerance),
            "wide_is_more_likely": wide["test_loss"] < deep["test_loss"],
        }
        for name, values in holds.items():
            yield Row({"depth": self.ends[0]}, name, Samples.of(values.astype(np.float64)))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """By how much the deepest nets end above the shallowest, seed by seed, and what they take of what those do."""
        from resexp.core.measured import level_samples
        from resexp.core.statistics import Samples, summarise

        for quantity in (*CURVES, *COSTS[1:]):
            ends = {int(row.axes["depth"]): level_samples(row) for row in measured[quantity].rows}
            wide, deep = (ends[depth] for depth in self.ends)
            if quantity in CURVES:
                yield (
                    f"{quantity}_deepest_minus_shallowest",
                    summarise(Samples.of(deep - wide), positive=False),
                    None,
                    "",
                )
            else:
                yield f"{quantity}_deepest_over_shallowest", summarise(Samples.of(deep / wide), positive=True), None, ""

    def multiply_adds(self, pixels: int) -> float:
        """Of all nets, at the widths that they have roughly; deep narrow ones do not fill a core."""
        return 1.4 * sum(convolutions(depth, self._about_wide(depth), pixels) for depth in self.depths)

    def estimate_memory(self, lab: Lab) -> int | None:
        """Bytes: weights, gradients, momentum and a copy of all nets of a depth, and what two hold of a batch."""
        if self.sizes is None:
            return None
        pixels = self.sizes[1]
        held = max(int(depth * 2.5 * self._about_wide(depth)) * pixels for depth in self.depths)
        return (8 if lab.dtype == "float64" else 4) * (4 * self.seeds * self.budget + 2 * self.batch * held)

    def _about_wide(self, depth: int) -> float:
        return float((self.budget / (63 * (depth - 2))) ** 0.5)


def _name(depth: int, width: int) -> str:
    return f"cifar-resnet:{depth},width={width}"


def _end(history: "History", curve: str) -> "Array":
    """The last of the curve, infinite where a net diverged, (seeds,)."""
    import numpy as np

    ends: Array = np.nan_to_num(getattr(history, curve)[-1].numpy(), nan=np.inf)
    return ends
