"""Experiments that the tests of experiments.yaml run in place of the real ones: every kind of parameter, no numbers."""

from collections.abc import Iterable
from typing import ClassVar, Literal, Self

from pydantic import model_validator

from resexp.core.experiment import Experiment, param
from resexp.core.lab import Lab
from resexp.core.result import Result, Value
from resexp.core.table import Table


class Silent(Table):
    """An experiment without rows."""

    axes = ("x",)
    columns = ("x",)

    @classmethod
    def name(cls) -> str:
        return cls.__name__.lower()

    def table(self) -> Iterable[dict[str, Value]]:
        return ()


class Chain(Silent):
    """A stand-in with every kind of parameter."""

    depth: int = param(10, "blocks", ge=1)
    min_length: int | None = param(None, "shortest length")
    beta: float = param(1.0, "scale of the branch", ge=0)
    norm: Literal["none", "batchnorm"] = param("none", "normalisation")
    lengths: tuple[int, ...] = param((), "lengths to list")
    label: str = param("", "text")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_length is not None and self.min_length > self.depth:
            raise ValueError(f"--min-length {self.min_length} is more than --depth {self.depth}.")
        return self


class Grid(Silent):
    """Another, which shares depth and nothing else."""

    depth: int = param(2, "blocks", ge=1, le=100)


class Net(Experiment):
    """A random one, which can name code to run."""

    axes = ("x",)
    runs_code: ClassVar[frozenset[str]] = frozenset({"model"})

    depth: int = param(10, "blocks", ge=1)
    width: int = param(4, "units", ge=1, le=1000)
    beta: float = param(1.0, "scale of the branch", ge=0)
    scheme: Literal["plain", "residual"] = param("plain", "scheme")
    lengths: tuple[int, ...] = param((), "lengths to list")
    biased: bool = param(False, "whether there are biases")
    model: str | None = param(None, "file with a model")

    @classmethod
    def name(cls) -> str:
        return "net"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.scheme == "residual" and self.depth * self.width > 1000:
            raise ValueError(f"--depth {self.depth} times --width {self.width} is more than 1000.")
        return self

    def compute(self, lab: Lab) -> Result:
        return Result(("x",), [])


EXPERIMENTS: dict[str, type[Experiment]] = {"chain": Chain, "grid": Grid, "net": Net}
