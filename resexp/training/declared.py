"""What experiments on trained nets have in common: where the data come from, how many seeds, how long, how exactly.

Subclass `TrainingExperiment`, say a parameter again where another default suits, and use in `measure`:

    data = self.load_data(lab)                          # on the lab's device, in its dtype
    nets = self.make_nets(lab, "cifar-resnet:20,width=8")   # one a seed, for the channels and classes of the data
    history = fit(nets, data, self.plan(rate=0.1), lab, checkpoint=self.checkpoint(lab).part("residual"))

Imports no torch: declarations are listed without it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.ensemble import Ensemble
from resexp.core.errors import UsageError
from resexp.core.experiment import param
from resexp.core.lab import Lab
from resexp.training.data.source import MEANING, digest, parse

if TYPE_CHECKING:
    from torch import nn

    from resexp.training.checkpoint import Checkpoint
    from resexp.training.data.dataset import Data
    from resexp.training.plan import Plan


class TrainingExperiment(Ensemble):
    """An experiment that trains nets. A draw is a seed: its own initialisation and order of the data."""

    resumes: ClassVar[bool] = True

    data: str = param("digits", f"data set: {MEANING}")
    limit: int | None = param(None, "examples of each part, training and test, at most", ge=2)
    seeds: int = param(3, "nets of each kind, each with its own initialisation and order of the data", ge=2, le=10_000)
    epochs: int = param(8, "passes over the training examples", ge=1, le=100_000)
    batch: int = param(128, "examples a step", ge=2, le=1_000_000)
    precision: Literal["full", "mixed"] = param("full", "mixed: products in bfloat16, where the device is faster so")
    compile: bool = param(False, "whether nets run through torch.compile")

    @model_validator(mode="after")
    def _data_is_a_source(self) -> Self:
        try:
            parse(self.data)
        except UsageError as error:
            raise ValueError(str(error)) from None
        return self

    def content(self) -> Mapping[str, str]:
        """Versions of the files that the data come from."""
        found = digest(self.data)
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
        """Where a run that was killed left its trainings; discard it when the rows are there."""
        from resexp.training.checkpoint import checkpoint_of

        return checkpoint_of(self, lab)
