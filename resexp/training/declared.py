"""What experiments on trained nets have in common: where the data come from, how many seeds, how long, how exactly.

Subclass `TrainingExperiment`, say a parameter again where another default suits, and write three methods:

    def train(self, lab):                                 # whatever `rows` needs; goes on where a killed run stood
        data = self.load_data(lab)                        # on the lab's device, in its dtype
        nets = self.make_nets(lab, "cifar-resnet:20,width=8", data)   # one a seed, for the data's channels and classes
        plan, checkpoint = self.plan(rate=0.1), self.checkpoint(lab)
        return fit(nets, data, plan, lab.share(0, 1, of=2), checkpoint=checkpoint.part("residual"))   # the first half

    def rows(self, found):                                # each number of each seed
        yield Row({"epoch": self.epochs}, "test_error", Samples.of(found.test_error[-1].numpy()))

    def told(self, found):                                # what only the run can tell, such as what diverged
        yield from diverged("residual", found)

What is judged is most often an order between nets, and that it holds in most seeds: `claim` declares it.

Imports no torch: declarations are listed without it.
"""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.errors import UsageError
from resexp.core.experiment import param
from resexp.core.lab import Lab
from resexp.core.result import Quantity, Result, Row, Value
from resexp.training.data.source import MEANING, digest, parse

if TYPE_CHECKING:
    from torch import nn

    from resexp.training.checkpoint import Checkpoint
    from resexp.training.data.dataset import Data
    from resexp.training.plan import Plan

TRAINED = 7e9
"""Multiply-adds of forward passes that one core does a second while it trains nets side by side, within 40 %."""
SIZES = {"digits": (1437, 64), "mnist1d": (4000, 40), "cifar10": (50_000, 1024), "mnist": (60_000, 784)}
"""Training examples of a kind of data, and pixels of each."""


def shown(name: str, meaning: str, *, positive: bool = False) -> Quantity:
    """A quantity that is measured and not judged."""
    return Quantity(name, meaning, positive, judged="nothing")


def claim(name: str, meaning: str) -> Quantity:
    """A quantity that is 1 in a seed where the claim holds, else 0; what is judged is that it holds in most seeds."""
    return Quantity(name, meaning, positive=False, judged="share", headline=name, hidden=True)


def convolutions(depth: int, width: float, pixels: int) -> float:
    """Multiply-adds of one image through a net of He et al. for small images: the same in each of its stages."""
    return depth * 9.0 * width**2 * pixels


def check_rates(lowest: float, highest: float) -> None:
    """Raise ValueError where there is nothing between the lowest and the highest learning rate."""
    if lowest >= highest:
        raise ValueError(f"--lowest {lowest}: must be less than --highest {highest}.")


def learning_rates(lowest: float, highest: float, count: int) -> list[float]:
    """So many learning rates in equal ratios, rising, to six digits."""
    ratio = (highest / lowest) ** (1 / (count - 1))
    return [float(f"{lowest * ratio**n:.6g}") for n in range(count)]


def check_depth(option: str, depth: int) -> None:
    """Raise ValueError where no net of He et al. for small images has so many layers."""
    if (depth - 2) % 6:
        raise ValueError(f"{option} {depth}: depths of these nets are 6 n + 2, such as 8, 14, 20, 32 or 56.")


def diverged(name: str, steps: "Iterable[int | None]", meaning: str = "") -> Iterator[str]:
    """A sentence that names the nets that diverged, if any did. steps: of each seed; meaning: how they count."""
    told = [f"seed {n} at step {step}" for n, step in enumerate(steps) if step is not None]
    if told:
        yield f"{name} diverged: {', '.join(told)}{meaning and f'; {meaning}'}."


class TrainingExperiment(Ensemble):
    """An experiment that trains nets. A draw is a seed: its own initialisation and order of the data."""

    version: ClassVar[int] = 2  # claims are judged by the exact binomial test
    resumes: ClassVar[bool] = True

    data: str = param("digits", f"data set: {MEANING}")
    limit: int | None = param(None, "examples of each part, training and test, at most", ge=2)
    seeds: int = param(3, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(8, "passes over the training examples", ge=1, le=100_000)
    batch: int = param(128, "examples a step", ge=2, le=1_000_000)
    precision: Literal["full", "mixed"] = param("full", "mixed: products in bfloat16, where the device is faster so")
    compile: bool = param(False, "whether nets run through torch.compile")

    @abstractmethod
    def train(self, lab: Lab) -> Any:
        """Train all nets and return what `rows` needs; go on where a run that was killed stood."""

    @abstractmethod
    def rows(self, found: Any) -> Iterator[Row]:
        """Lay out what was found, each number of each seed."""

    def told(self, found: Any) -> Iterable[str]:
        """Notes on what was found; none by default."""
        return ()

    def lines(self, found: Any) -> Iterable[dict[str, Value]]:
        """Lines for the table that are no statistics over seeds, such as the points of a surface; none by default."""
        return ()

    def measure(self, lab: Lab) -> Iterator[Row]:
        """Train all nets and lay out what was found."""
        yield from self.rows(self.train(lab))

    def compute(self, lab: Lab) -> Result:
        """Train, lay out and judge; the checkpoint has served when the rows are there."""
        from resexp.core.assessment import assess

        found = self.train(lab)
        result = assess(self, self.rows(found))
        result.rows.extend(self.lines(found))
        result.notes.extend(self.told(found))
        self.checkpoint(lab).discard()
        return result

    makes_its_data: ClassVar[bool] = False
    """Whether the data are drawn by the experiment, and --data names no source."""

    @model_validator(mode="after")
    def _data_is_a_source(self) -> Self:
        try:
            if not self.makes_its_data:
                parse(self.data)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def content(self) -> Mapping[str, str]:
        """Versions of the files that the data come from."""
        found = None if self.makes_its_data else digest(self.data)
        return {"data": found} if found else {}

    def load_data(self, lab: Lab) -> "Data":
        """The data, ready to train on. Raises UsageError where a file is missing or damaged."""
        from resexp.training.data.load import load

        return load(self.data, self.limit).to(lab.torch_device, lab.torch_dtype)

    def make_nets(self, lab: Lab, name: str, data: "Data") -> "list[nn.Module]":
        """A net of the zoo for each seed, with the channels and classes of the data; options follow the name."""
        from resexp.nets.zoo import factory
        from resexp.training.initial import initialised

        make = factory(f"{name},channels={data.shape[0]},classes={data.classes}")
        return initialised(make, lab, self.seeds)

    def plan(self, **more: Any) -> "Plan":
        """How nets are trained: what is declared here, and more."""
        from resexp.training.plan import Plan

        said = {name: getattr(self, name) for name in ("epochs", "batch", "precision", "compile")}
        return Plan(**{**said, **more})

    def checkpoint(self, lab: Lab) -> "Checkpoint":
        """Where a run that was killed left its trainings."""
        from resexp.training.checkpoint import checkpoint_of

        return checkpoint_of(self, lab)

    @property
    def sizes(self) -> tuple[int, int] | None:
        """Training examples, and pixels of each; None where the files alone know."""
        known = SIZES.get(parse(self.data).kind)
        return known and (min(known[0], self.limit or known[0]), known[1])

    def multiply_adds(self, pixels: int) -> float:
        """Multiply-adds of an example of so many pixels through one net of each kind; 0 where that is not known."""
        return 0.0

    def seconds_beside_training(self, examples: int, pixels: int) -> float:
        """Seconds of one core for what is no training; 0 by default."""
        return 0.0

    def estimate_seconds(self, lab: Lab) -> float | None:
        """Seconds on one core, from the multiply-adds; None where the files alone know, or on another device."""
        if self.sizes is None or lab.device != "cpu":
            return None
        examples, pixels = self.sizes
        training = self.seeds * self.epochs * examples * self.multiply_adds(pixels) / TRAINED
        return training + self.seconds_beside_training(examples, pixels) if training else None

    @property
    def training_steps(self) -> int | None:
        """Steps of a training; None where the files alone know."""
        return self.sizes and self.epochs * max(1, self.sizes[0] // self.batch)
