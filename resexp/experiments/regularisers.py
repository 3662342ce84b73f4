"""Regularisers of residual nets side by side: what each does to errors, and what it costs.

    none               the residual net with batch normalisation that the others are held against
    stochastic-depth   a branch left out for a whole mini-batch, and not computed; block l of L with probability
                       drop_rate l / L. resdrop is the same by another name, and trained once for both
    randomdrop         a branch left out for single images, at a rate that rises from 0 to that in training
    shakedrop          a branch times a random number, another one backward
    ghost              batch normalisation over parts of the mini-batch of at least `ghost` examples
    skipinit, skipinit-dropout     SkipInit in place of batch normalisation, without and with dropout in each branch
    two-branches, shake-shake      half as many blocks of two branches, mixed evenly or at random
    blockdrop          the net of `none`, trained; a policy is learned that says which blocks to use for an image

A baseline is `none`, and for skipinit-dropout and shake-shake the net without their randomness. Errors are shares:

    train_loss, test_error    of each epoch: mean over its mini-batches as they are trained on; after it, in evaluation
    test_error_change         at the end, minus that of the baseline with the same initialisation (where nets are alike)
    lesion_rise               rise of the test error when one block is left out, median over the blocks
    branches_computed         share of the branches that were computed in training, as counted
    training_cost             operations of a forward pass in training, as counted, over those of `none`
    evaluation_cost           the same in evaluation; of blockdrop that of its policy is part

Exact: the expected branches_computed of stochastic depth, 1 - drop_rate (L + 1) / 2 L, and 1 where a branch is computed
and only then multiplied by 0. References, judged by whether they hold in most seeds: stochastic depth ends with the
higher training loss, for what it trains is harder, and with the lower lesion rise, for it has learned to do without any
block.

Not judged: better test errors, the reason why these methods exist. They hardly show here. In six epochs on the digits
stochastic depth and ShakeDrop raise the test error by 2.5 %, Shake-Shake by 1 %, RandomDrop and ghost batches by less
than what varies: a net that learns in spite of them is not done so soon. Dropout with SkipInit lowers it, within what
varies from seed to seed, in a net that trains badly at this rate. BlockDrop spares 16 % of the operations for 2.6 %
more errors.

What L2 regularisation leaves of plain and residual nets is measured by decay-limit.

Source: Huang et al. 2016; Yamada et al. 2016 and 2019; Prince 2023, section 11.6 and notes; Gastaldi 2017; Wu et al.
2018; Hoffer et al. 2017; De and Smith 2020; Zagoruyko and Komodakis 2016.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast, get_args

from pydantic import model_validator

from resexp.core.experiment import Plot, param
from resexp.core.lab import Lab
from resexp.core.result import Prediction, Quantity, Row
from resexp.training.declared import TrainingExperiment, check_depth, claim, convolutions, diverged, shown

if TYPE_CHECKING:
    from resexp.core.ensemble import Figure
    from resexp.core.measured import Measured
    from resexp.nets.residual import ResidualNet
    from resexp.training.regularised import Found

RegulariserName = Literal[
    "none",
    "stochastic-depth",
    "resdrop",
    "randomdrop",
    "shakedrop",
    "ghost",
    "skipinit",
    "skipinit-dropout",
    "two-branches",
    "shake-shake",
    "blockdrop",
]
ALL: tuple[RegulariserName, ...] = get_args(RegulariserName)
BASELINES: dict[RegulariserName, RegulariserName] = {"skipinit-dropout": "skipinit", "shake-shake": "two-branches"}
"""What is no difference from `none`."""
SKIPPING = ("stochastic-depth", "resdrop")
"""Regularisers that save operations in training."""
ORDERS = {
    "stochastic_depth_trains_harder": "stochastic depth ends with the higher training loss",
    "stochastic_depth_heals_lesions": "stochastic depth ends with the lower lesion rise",
}


class Regularisers(TrainingExperiment):
    """Errors and costs of residual nets with stochastic depth, Shake-Shake, BlockDrop and others, side by side."""

    regulariser: tuple[RegulariserName, ...] = param(ALL, "regularisers; baselines are trained as well", min_length=1)
    depth: int = param(14, "layers of the nets, 6 n + 2", ge=8, le=10_000)
    width: int = param(8, "channels of the first stage; the second and third have 2 and 4 times as many", ge=1, le=1024)
    drop_rate: float = param(0.5, "probability of leaving out the last block", ge=0, lt=1)
    dropout: float = param(0.3, "probability of leaving out a unit", ge=0, lt=1)
    ghost: int = param(16, "examples of a ghost batch, at least", ge=2)
    penalty: float = param(1.0, "what a wrong answer costs BlockDrop's policy; no block used gives 1", ge=0)
    rate: float = param(0.1, "highest learning rate", gt=0)
    weight_decay: float = param(1e-4, "factor of the weights in their L2 decay", ge=0)
    seeds: int = param(8, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(6, "passes over the training examples", ge=1, le=100_000)

    axes = ("regulariser", "epoch")
    quantities = (
        shown("train_loss", "mean cross-entropy of an epoch's mini-batches, nats"),
        shown("test_error", "share of wrong test examples after the epoch"),
        shown("test_error_change", "test error minus that of the baseline"),
        shown("lesion_rise", "rise of the test error without one block, median"),
        Quantity("branches_computed", "share of the branches computed in training", judged="level", margin=0.05),
        shown("training_cost", "operations over those of none, in training", positive=True),
        shown("evaluation_cost", "operations over those of none, in evaluation", positive=True),
        *(claim(name, meaning) for name, meaning in ORDERS.items()),
    )
    plot = Plot(x="epoch", series="regulariser")
    quick: ClassVar = {
        "regulariser": ("none", "stochastic-depth", "shakedrop"),
        "width": 4,
        "limit": 256,
        "batch": 32,
        "epochs": 5,
    }
    smallest: ClassVar = {
        "regulariser": ("stochastic-depth",),
        "depth": 8,
        "width": 2,
        "seeds": 2,
        "limit": 64,
        "epochs": 1,
    }
    examples = (
        "regularisers",
        "regularisers --regulariser none,stochastic-depth --depth 56",
        "regularisers --regulariser two-branches,shake-shake --seeds 3",
    )

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        check_depth("--depth", self.depth)
        if len(set(self.regulariser)) < len(self.regulariser):
            raise ValueError(f"--regulariser {','.join(self.regulariser)}: each can be asked for once.")
        return self

    @property
    def trained(self) -> tuple[RegulariserName, ...]:
        """What is asked for and its baselines, in the order of the declaration."""
        wanted = {"none", *self.regulariser, *(BASELINES[name] for name in self.regulariser if name in BASELINES)}
        return tuple(name for name in ALL if name in wanted)

    def net(self, name: RegulariserName) -> str:
        """Name of the net in the zoo."""
        net = f"cifar-resnet:{self.depth},width={self.width}"
        if name in SKIPPING:
            return f"{net},drop=stochastic-depth:{self.drop_rate}"
        if name in ("randomdrop", "shakedrop"):
            return f"{net},drop={name}:{self.drop_rate}"
        if name == "ghost":
            return f"{net},norm=ghost:{self.ghost}"
        if name in ("skipinit", "skipinit-dropout"):
            drop = f",drop=dropout:{self.dropout}" if name == "skipinit-dropout" else ""
            return f"{net},scheme=skipinit{drop}"
        if name in ("two-branches", "shake-shake"):
            return f"shake-shake:{6 * max(1, (self.depth - 2) // 12) + 2}-2x{self.width}d"
        return net

    def theory(self, quantity: str, epoch: int, regulariser: RegulariserName) -> Prediction | None:
        """The expected cost, and that the orders hold in most seeds."""
        if quantity in ORDERS:
            return Prediction("reference", value=1.0)
        if quantity == "branches_computed":
            blocks = (self.depth - 2) // 2
            dropped = self.drop_rate * (blocks + 1) / (2 * blocks) if regulariser in SKIPPING else 0.0
            return Prediction("exact", value=1.0 - dropped)
        return None

    def told(self, found: "Mapping[RegulariserName, Found]") -> Iterator[str]:
        """Which nets diverged."""
        for name, one in found.items():
            yield from diverged(name, one.diverged)

    def notes(self) -> Iterable[str]:
        """How to read the changes of the test error."""
        yield (
            "A test error is better only where the whole interval of test_error_change is below 0; trainings as short "
            "as the default rarely show it."
        )

    def train(self, lab: Lab) -> "dict[RegulariserName, Found]":
        """All that was found of each regulariser; goes on where a run that was killed stood."""
        from resexp.training.branch_counts import count_branches, operations
        from resexp.training.fit import fit, look_at_nothing
        from resexp.training.regularised import mix_evenly, of_trained, ramp, with_policies

        data = self.load_data(lab).as_images()
        plan = self.plan(rate=self.rate, weight_decay=self.weight_decay)
        found: dict[RegulariserName, Found] = {}
        none: list[ResidualNet] = []
        for number, name in enumerate(self.trained):
            if name == "blockdrop":
                found[name] = with_policies(none, data, lab, epochs=self.epochs, batch=self.batch, penalty=self.penalty)
                continue
            if name == "resdrop" and "stochastic-depth" in found:
                found[name] = found["stochastic-depth"]
                continue
            nets = cast("list[ResidualNet]", self.make_nets(lab, self.net(name), data))
            for net in nets:
                count_branches(net)
                if name == "two-branches":
                    mix_evenly(net)
            look = ramp if name == "randomdrop" else look_at_nothing
            here = lab.share(number, number + 1, of=len(self.trained))
            part = self.checkpoint(lab).part(name)
            history = fit(nets, data, plan, here, before_step=look, checkpoint=part)
            none = none or nets
            found[name] = of_trained(nets, history, data, operations(none[0], data.shape))
        return found

    def rows(self, found: "Mapping[RegulariserName, Found]") -> Iterator[Row]:
        """Rows of the curves, of what holds at the end, and of the orders."""
        import numpy as np

        from resexp.core.statistics import Samples

        end = self.epochs
        for name, one in found.items():
            for quantity, curve in (("train_loss", one.train_loss), ("test_error", one.test_error)):
                for epoch, values in enumerate(curve, 1 + end - len(curve)):
                    yield Row({"epoch": epoch, "regulariser": name}, quantity, Samples.of(values))
        for name, one in found.items():
            place = {"epoch": end, "regulariser": name}
            baseline = BASELINES.get(name, "none")
            if name not in ("none", "skipinit", "two-branches"):
                yield Row(place, "test_error_change", Samples.of(one.test_error[-1] - found[baseline].test_error[-1]))
            yield Row(place, "evaluation_cost", Samples.of(one.evaluation_cost))
            if name != "blockdrop":
                yield Row(place, "lesion_rise", Samples.of(one.lesion_error - one.test_error[-1]))
                yield Row(place, "branches_computed", Samples.of(one.branches_computed))
                yield Row(place, "training_cost", Samples.of(one.training_cost))
        dropped = found.get("stochastic-depth") or found.get("resdrop")
        if dropped is not None:
            harder = dropped.train_loss[-1] > found["none"].train_loss[-1]
            rises = [one.lesion_error - one.test_error[-1] for one in (dropped, found["none"])]
            healed = rises[0] < rises[1]
            for name_, holds in zip(ORDERS, (harder, healed), strict=True):
                place = {"epoch": end, "regulariser": "stochastic-depth"}
                yield Row(place, name_, Samples.of(holds.astype(np.float64)))

    def multiply_adds(self, pixels: int) -> float:
        """Of all that are trained; ResDrop is stochastic depth, and BlockDrop's policy counts as one more net."""
        trained = set(self.trained) - ({"resdrop"} if "stochastic-depth" in self.trained else set())
        return len(trained) * convolutions(self.depth, self.width, pixels)

    def headlines(self, measured: "Mapping[str, Measured]") -> "Iterable[Figure]":
        """Changes of the test error by each regulariser."""
        from resexp.core.measured import level_samples
        from resexp.core.statistics import Samples, summarise

        for row in measured["test_error_change"].rows if "test_error_change" in measured else ():
            change = summarise(Samples.of(level_samples(row)), positive=False)
            yield f"test_error_change_{str(row.axes['regulariser']).replace('-', '_')}", change, None, ""
