"""How deep a fully connected network may be and still train, by scheme: plain, residual, rescaled and small branches.

    h[1] = W x,   h[k+1] = skip h[k] + alpha f(h[k]),   y = W relu(h[K]) + b,   f = relu, W, of `width` units

    plain      skip 0, alpha 1               residual   skip 1, alpha 1
    rescaled   both 1/sqrt 2                 skipinit   skip 1, alpha learned, 0 at first
    fixup      skip 1, last layer of a branch 0 at first, scalar biases and multipliers, two layers in a branch
    batchnorm  skip 1, alpha 1, batch normalisation before each activation

A net of K hidden layers trains where, at the best of the learning rates, its share of right training examples in the
last epoch is `accuracy` or more. The deepest is found by bisection over odd K up to `cap` (Fixup has two layers in a
branch): the cap is tried first, and where it trains the answer is "at least" the cap; notes say where.
Each seed has its own initialisation, the same at each rate, and its own search. Bisection takes it that what trains at
a depth trains at all smaller ones; training is noisy, so that one net by chance below the threshold would mislead it.
What one search asks for is trained from all seeds, and the deepest that trained of all that were tried counts.

Claims are references, judged by whether they hold in most seeds, a net at the cap counting as of its depth:

    rescaled_deeper          a rescaled net may be deeper than a plain one
    residual_not_doubled     an unscaled residual net of He initialisation is less than 1.5 times as deep as a plain one
    SCHEME_much_deeper       skipinit, fixup, batchnorm: `factor` times as deep as plain; open where the cap is less

So "skips roughly double the depth" (section 11.2.2) depends on the scale of the branch. Beside the depths stands, as a
reference, what the initialisation says at infinite width: the largest odd K at which the mean square of h has grown by
no more than `growth` since the first layer, and the correlation of two independent inputs is no more than `alike`.
Both thresholds are conventions; what they predict is the order of the schemes and their ratios: the correlation rises
half as fast with a skip of the branch's size, and the unscaled sum doubles the mean square at each block. Nothing is
predicted with batch normalisation.

Measured on 512 embedded digits with a cap of 49 and three seeds of the program, 8 nets each: plain nets train to 11
layers in the mean, rescaled ones to 18, 20 and 20, 1.6 to 1.9 times as deep and deeper in each; unscaled residual nets
to 9 or less, mostly less deep than plain and never 1.3 times as deep; SkipInit, Fixup and batch normalisation reach the
cap in each. The prediction says 13, 27 and 9: the order is right, and rescaled nets of so small a width fall short of
it.

Source: Prince 2023, section 11.2.2; Sankararaman et al. 2020; De and Smith 2020; Zhang et al. 2019; He et al. 2016.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.core.schemes import scheme as scales
from resexp.training.declared import TrainingExperiment, check_rates, claim, learning_rates, shown

if TYPE_CHECKING:
    from torch import nn

    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.core.statistics import Array
    from resexp.training.data.dataset import Data

Name = Literal["plain", "residual", "rescaled", "skipinit", "fixup", "batchnorm"]
NAMES: tuple[Name, ...] = ("plain", "residual", "rescaled", "skipinit", "fixup", "batchnorm")
SMALL_BRANCHES: tuple[Name, ...] = ("skipinit", "fixup", "batchnorm")
CLAIMS: Mapping[Name, str] = {
    "residual": "residual_not_doubled",
    "rescaled": "rescaled_deeper",
    **{name: f"{name}_much_deeper" for name in SMALL_BRANCHES},
}
DOUBLED = 1.5
"""Times the depth of a plain net, halfway on the way to twice, below which a net is not said to be twice as deep."""
SMALLEST = 3
"""Hidden layers of the smallest net tried: two before a branch of two layers and one more."""
STEP_SECONDS = 4e-5
"""Of a step, for each net and layer of 32 units at 32 examples, many nets side by side, on one core."""


@dataclass
class Search:
    """What was found of one scheme. accuracy: at the best rate of each depth tried, (seeds,); deepest: of each seed."""

    accuracy: "dict[int, Array]" = field(default_factory=dict)
    deepest: list[int] = field(default_factory=list)

    def settle(self, least: float, seeds: int) -> None:
        """Take the deepest that trained of all that were tried, whichever seed's search asked for them; 1 if none."""
        tried = sorted(self.accuracy)
        self.deepest = [max([1, *(k for k in tried if self.accuracy[k][seed] >= least)]) for seed in range(seeds)]


def deepest_by_bisection(trains: Callable[[int], bool], cap: int) -> int:
    """Largest odd depth that trains, from 3 to the odd `cap`, which is tried first; 1 where none does.

    Finds it where all depths below one that trains do so too; else one that trains and whose successor does not.
    """
    if trains(cap):
        return cap
    low, high = 1, cap
    while high - low > 2:
        middle = low + 2 * ((high - low) // 4)
        low, high = (middle, high) if trains(middle) else (low, middle)
    return low


class TrainableDepth(TrainingExperiment):
    """Deepest network that trains, by bisection: plain, residual, rescaled, and with branches that start small."""

    schemes: tuple[Name, ...] = param(NAMES, "schemes of the nets, plain among them")
    width: int = param(32, "hidden units a layer", ge=1, le=4096)
    cap: int = param(57, "most hidden layers that are tried, odd", ge=SMALLEST + 2, le=10_001)
    lowest: float = param(0.002, "lowest learning rate", gt=0)
    highest: float = param(0.04, "highest learning rate", gt=0)
    rates: int = param(3, "learning rates from the lowest to the highest, in equal ratios", ge=2, le=100)
    momentum: float = param(0.9, "share of the last move in the next", ge=0, lt=1)
    accuracy: float = param(
        0.75, "share of right training examples in the last epoch from which a net trains", gt=0, lt=1
    )
    factor: float = param(4.0, "how many times as deep as plain nets those of small branches must be", ge=1)
    growth: float = param(1000.0, "prediction: most growth of the mean square from the first layer on", gt=1)
    alike: float = param(0.9, "prediction: largest correlation of two independent inputs", gt=0, lt=1)
    limit: int | None = param(512, "examples of each part, training and test, at most", ge=2)
    seeds: int = param(8, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    batch: int = param(32, "examples a step", ge=2, le=1_000_000)

    axes = ("scheme", "depth")
    quantities = (
        shown("accuracy", "share of right training examples in the last epoch, at the best of the rates"),
        shown("trains", "whether that is enough"),
        Quantity("deepest_trainable", "hidden layers of the deepest net that trains", judged="nothing", hidden=True),
        claim(CLAIMS["rescaled"], "a rescaled net may be deeper than a plain one"),
        claim(
            CLAIMS["residual"],
            "an unscaled residual net of He initialisation is less than 1.5 times as deep as a plain one",
        ),
        *(claim(CLAIMS[name], "that many times as deep as a plain net, or to the cap") for name in SMALL_BRANCHES),
    )
    plot = Plot(x="depth", series="scheme")
    quick: ClassVar = {
        "schemes": ("plain", "rescaled", "fixup"),
        "cap": 17,
        "lowest": 0.005,
        "highest": 0.014,
        "rates": 2,
        "epochs": 6,
        "accuracy": 0.68,
        "factor": 1.1,
    }
    smallest: ClassVar = {"width": 4, "cap": 5, "seeds": 2, "limit": 64, "epochs": 1, "rates": 2, "accuracy": 0.05}
    examples = (
        "trainable-depth",
        "trainable-depth --width 64 --seeds 3 --format table",
        "trainable-depth --data mnist1d --limit 1000 --accuracy 0.6",
    )

    @model_validator(mode="after")
    def _is_a_search_over_odd_depths(self) -> Self:
        if "plain" not in self.schemes or len(set(self.schemes)) < len(self.schemes):
            raise ValueError(
                f"--schemes {','.join(self.schemes)}: give each once, and plain, which others are held to."
            )
        if self.cap % 2 == 0:
            raise ValueError(f"--cap {self.cap}: must be odd, since branches of two layers follow a first one.")
        check_rates(self.lowest, self.highest)
        return self

    @property
    def grid(self) -> list[float]:
        """The learning rates, rising."""
        return learning_rates(self.lowest, self.highest, self.rates)

    def theory(self, quantity: str, **_: object) -> Prediction | None:
        """That claims hold in most seeds, as others saw; the depths that are predicted stand in the headlines."""
        return Prediction("reference", value=1.0) if quantity in CLAIMS.values() else None

    def predicted(self, name: Name) -> int | None:
        """Largest odd depth up to the cap at which growth and correlation are in range; None with normalisation."""
        if name == "batchnorm":
            return None
        from resexp.theory import infinite_width

        two = name == "fixup"
        deepest = SMALLEST - 2
        for depth in range(SMALLEST, self.cap + 1, 2):
            blocks = (depth - 1) // 2 if two else depth - 1
            at = scales(name, blocks)
            order = "two-layer" if two else "relu-linear"
            block = infinite_width.Block(at.skip, at.branch, at.inner, 2.0, order, "relu")
            limit = infinite_width.stack(blocks, block)
            grown = float(limit.log_second_moment[-1] - limit.log_second_moment[0])
            if not (abs(grown) <= math.log(self.growth) and limit.correlation[-1] <= self.alike):
                break
            deepest = depth
        return deepest

    def notes(self) -> Iterable[str]:
        """On what "roughly doubles" depends."""
        yield (
            "That skips roughly double the depth depends on the branch's scale: compare rescaled (both 1/sqrt 2) with "
            "residual (unscaled), which He initialisation lets explode."
        )

    def told(self, found: "Mapping[Name, Search]") -> Iterator[str]:
        """Which schemes reached the cap, and which trained at no depth."""
        for name, search in found.items():
            capped, none = (sum(depth == end for depth in search.deepest) for end in (self.cap, SMALLEST - 2))
            if capped:
                yield f"{name}: {capped} of {self.seeds} train at the cap; the deepest is at least {self.cap}."
            if none:
                yield f"{name}: {none} of {self.seeds} train at no depth from {SMALLEST} on; shown as 1."

    def train(self, lab: Lab) -> "dict[Name, Search]":
        """Search with each scheme; goes on where a run that was killed stood.

        At a depth that one seed asks for, the nets of all seeds are trained, side by side.
        """
        from resexp.training.fit import fit

        data = self.load_data(lab).as_vectors()
        checkpoint = self.checkpoint(lab)
        tries = 1 + max(1, math.ceil(math.log2(self.cap)))
        found: dict[Name, Search] = {}
        for number, name in enumerate(self.schemes):
            search = found[name] = Search()

            def accuracy(depth: int, name: Name = name, number: int = number, search: Search = search) -> "Array":
                if depth not in search.accuracy:
                    at = number * tries + min(len(search.accuracy), tries - 1)
                    here = lab.share(at, at + 1, of=len(self.schemes) * tries)
                    plan = self.plan(
                        rate=tuple(self.grid) * self.seeds,
                        momentum=self.momentum,
                        weight_decay=0.0,
                        schedule="constant",
                    )
                    nets = self.nets(lab, name, depth, data)
                    history = fit(nets, data, plan, here, checkpoint=checkpoint.part(f"{name}-{depth}"))
                    error = history.train_error[-1].nan_to_num(nan=1.0).view(self.seeds, self.rates)
                    search.accuracy[depth] = 1.0 - error.amin(1).numpy()
                return search.accuracy[depth]

            for seed in range(self.seeds):

                def trains(depth: int, seed: int = seed) -> bool:
                    return bool(accuracy(depth)[seed] >= self.accuracy)

                deepest_by_bisection(trains, self.cap)
            search.settle(self.accuracy, self.seeds)
        return found

    def nets(self, lab: Lab, name: Name, depth: int, data: "Data") -> "list[nn.Module]":
        """Nets of each seed at each rate, (seeds * rates); those of one seed start alike."""
        import copy

        from resexp.nets.zoo import factory
        from resexp.training.initial import initialised

        branch = 2 if name == "fixup" else 1
        ends = f"inputs={data.shape[0]},outputs={data.classes}"
        make = factory(f"mlp:{depth}x{self.width},{ends},branch={branch},scheme={name}")
        return [copy.deepcopy(net) for net in initialised(make, lab, self.seeds) for _ in self.grid]

    def rows(self, found: "Mapping[Name, Search]") -> Iterator[Row]:
        """Rows of each scheme at the depths that were tried, of the deepest, and of the orders."""
        import numpy as np

        from resexp.core.statistics import Samples

        for quantity in ("accuracy", "trains"):
            for name, search in found.items():
                for depth, values in sorted(search.accuracy.items()):
                    held = values if quantity == "accuracy" else (values >= self.accuracy).astype(np.float64)
                    yield Row({"scheme": name, "depth": depth}, quantity, Samples.of(held))
        plain = np.array(found["plain"].deepest, dtype=np.float64)
        for name, search in found.items():
            deepest = np.array(search.deepest, dtype=np.float64)
            place = {"scheme": name, "depth": self.cap}
            yield Row(place, "deepest_trainable", Samples.of(deepest))
            if name in CLAIMS:
                orders = {"rescaled": deepest > plain, "residual": deepest < DOUBLED * plain}
                holds = orders.get(name, deepest >= self.factor * plain).astype(np.float64)
                if name not in orders:  # a net that trains at the cap may train at so many times the depth
                    holds[(deepest == self.cap) & (self.factor * plain > self.cap)] = np.nan
                yield Row(place, CLAIMS[name], Samples.of(holds))

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """The deepest of each scheme beside what its initialisation predicts, and how many times the plain one's."""
        from resexp.core.measured import level_samples
        from resexp.core.statistics import Samples, summarise

        deepest = {row.axes["scheme"]: level_samples(row) for row in measured["deepest_trainable"].rows}
        for name, depths in deepest.items():
            predicted = self.predicted(name)
            kind = "" if predicted is None else "reference"
            yield f"deepest_trainable_{name}", summarise(Samples.of(depths), positive=True), predicted, kind
        for name, depths in deepest.items():
            if name != "plain":
                times = summarise(Samples.of(depths / deepest["plain"]), positive=True)
                yield f"times_plain_{name}", times, None, ""

    def estimate_seconds(self, lab: Lab) -> float | None:
        """From the layers of a usual search, at the speed of one core of a common machine."""
        if self.training_steps is None or lab.device != "cpu":
            return None
        layers = sum(1.0 if name in SMALL_BRANCHES else 2.5 for name in self.schemes) * self.cap
        scale = max(1.0, self.batch / 32 * (self.width / 32) ** 1.3)
        return float(self.seeds * self.rates * self.training_steps * layers * scale * STEP_SECONDS)
